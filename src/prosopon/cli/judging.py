"""The LLM judge of ``compare`` and ``evaluate``: its options, and how it is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from prosopon.errors import OptionError

if TYPE_CHECKING:
    from prosopon.data.contrast import Contrast
    from prosopon.judges import Judge

KNOWN = 32
"""Texts of known author on each side by which an LLM judge's accuracy is measured."""
NOWHERE = "http://replay.invalid/v1"  # never asked


@dataclass(frozen=True)
class JudgeOptions:
    """The options of the LLM judge."""

    judge_url: Annotated[
        str | None, Option(help="OpenAI-compatible endpoint of an LLM judge; default off.")
    ] = None
    judge_model: Annotated[str | None, Option(help="The LLM judge's model.")] = None
    judge_cache: Annotated[
        Path | None, Option(help="JSONL file of its verdicts; none is asked for twice.")
    ] = None
    judge_replay: Annotated[
        bool, Option("--judge-replay", help="Verdicts from the file alone, no endpoint is asked.")
    ] = False

    def maker(self, cache: Path | None = None) -> Any:
        """Return what makes the judge, see :func:`llm_judge`; ``cache`` where none is named."""
        cache = self.judge_cache or cache
        return llm_judge(self.judge_url, self.judge_model, cache, self.judge_replay)


def llm_judge(url: str | None, model: str | None, cache: Path | None, replay: bool = False) -> Any:
    """Return what makes the LLM judge of a contrast; None where none is asked for.

    Verdicts are kept in ``cache``, or in memory; ``replay`` takes them from there alone.
    """
    if not (url or model or replay):
        return None
    if not model or not (url or replay):
        raise OptionError("an LLM judge takes both --judge-url and --judge-model")
    if replay and (cache is None or not cache.is_file()):
        where = f"there is no {cache}" if cache else "give --judge-cache"
        raise OptionError(f"--judge-replay reads verdicts from a file: {where}")
    from prosopon.data.questions import prompt_text
    from prosopon.judges import LLMJudge, measure_accuracy

    def make(contrast: Contrast) -> list[Judge]:
        target = contrast.description or contrast.target
        opposite = contrast.test[1].description or contrast.opposite
        judge = LLMJudge(
            url or NOWHERE, model, target=target, opposite=opposite, cache=cache, replay=replay
        )
        sides = [persona.examples[:KNOWN] for persona in contrast.judge]
        ours, theirs = ([example.response for example in side] for side in sides)
        prompts = [[prompt_text(example.prompt) for example in side] for side in sides]
        judge.accuracy = measure_accuracy(
            judge, ours, theirs, target_prompts=prompts[0], opposite_prompts=prompts[1]
        )
        return [judge]

    return make
