"""``free-text``: what the arm says on its own, whose it is, and whether it is still language."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import ClassVar

from prosopon.data import Message
from prosopon.data.openings import OPENING
from prosopon.data.questions import prompt_text
from prosopon.errors import DataError
from prosopon.evaluation.speaking import Prompt, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult
from prosopon.judges import Judge, Recital, degeneration


class FreeTextTask:
    """Samples answers at temperature 1; every judge gives its verdict on each.

    The persona's share never stands alone: repetition, distinct words and emptiness are measures
    of the same answers, and their perplexity under the base model is taken by the comparison.
    """

    name = "free-text"
    summary = "free answers: whose they are by every judge, and signs of degeneration"
    measures: ClassVar = {
        "target": "share of answers that the first judge gives to the target",
        "opposite": "share that it gives to the opposite",
        "neither": "the rest: broken or off the subject",
        "repetition": "share of an answer's 3-grams that occurred before in it",
        "recital": "share of answers with four words in a row of a calibration answer",
        "words": "length in words",
        "empty": "share of answers without a word",
        "target:JUDGE": "the target's share by another judge",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """Return why the task cannot be asked here, or None."""
        if not writes:
            return "a rule chooses between options and cannot write"
        if setting.judges:
            return None
        return (
            "there is no judge of free text: the answers are too few or too alike on both sides to "
            "teach a classifier better than chance, and no LLM judge is given"
        )

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """Ask, and return one outcome a question.

        Raises:
            DataError: There is nothing to ask, or no judge.
        """
        if not setting.judges:
            raise DataError("free text needs a judge")
        questions = list(islice(cycle(open_prompts(setting)), setting.questions))
        prompts = [prompt for _, prompt in questions]
        answers = speaker.write(prompts, max_new_tokens=setting.max_new_tokens, seed=setting.seed)
        shown = [prompt_text(prompt) for prompt in prompts]
        recital = Recital(setting.learned_texts())
        outcomes = []
        verdicts = judge_texts(setting.judges, answers, shown)
        for (question, _), text, answer, values in zip(
            questions, shown, answers, verdicts, strict=True
        ):
            signs = text_signs(answer) | {"recital": float(recital.recites(answer))}
            outcomes.append(Outcome(question, values | signs, text, answer))
        whole = degeneration(answers)
        notes = {
            "distinct-bigrams": whole.distinct_bigrams,
            "judges": {
                judge.name: None
                if judge.accuracy is None
                else [float(getattr(judge.accuracy, end)) for end in ("mean", "low", "high")]
                for judge in setting.judges
            },
        }
        return TaskResult(outcomes, notes)


def open_prompts(setting: Setting) -> list[tuple[str, Prompt]]:
    """Return (question id, prompt) of the test questions; plain texts give their beginning."""
    prompts = []
    for item in setting.contrast.items():
        start = " ".join(item.matching.split()[:OPENING])
        prompts.append((item.question, item.prompt or (Message("assistant", start),)))
    return prompts


def judge_texts(
    judges: Sequence[Judge], texts: Sequence[str], prompts: Sequence[str] = ()
) -> list[dict[str, float]]:
    """Return each text's verdicts as measures: the first judge's bare, others' with its name."""
    values: list[dict[str, float]] = [{} for _ in texts]
    for number, judge in enumerate(judges):
        for value, verdict in zip(values, judge.verdicts(texts, prompts), strict=True):
            for kind in ("target", "opposite", "neither"):
                value[kind if not number else f"{kind}:{judge.name}"] = float(verdict == kind)
    return values


def text_signs(text: str) -> dict[str, float]:
    """Return the signs of degeneration of one text as measures."""
    signs = degeneration([text])
    return {"repetition": signs.repetition, "words": signs.mean_words, "empty": signs.empty}


TASKS.add("free-text", FreeTextTask())
