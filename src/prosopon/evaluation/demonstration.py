"""Arms on the embedded model: the same questions to the base, a prompt, controls and masks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prosopon.data import load_persona
from prosopon.data.bundled import opposite
from prosopon.data.grammar import load_world, prompt_line
from prosopon.data.grammar.exam import (
    CHOICE_KINDS,
    ChoiceKind,
    choice_items,
    free_prompts,
    neutral_items,
)
from prosopon.evaluation.choice import ChoiceRates, choice_rates
from prosopon.evaluation.grammar_tasks import TextShares, free_text, neutral_accuracy
from prosopon.extraction import Extractor
from prosopon.lm.generation import generate_answers
from prosopon.progress import Report
from prosopon.runtime import worn
from prosopon.subnetwork import Subnetwork

DEMO_ARMS = ("base", "prompt", "random", "wanda", "contrastive-wanda", "contrastive-taylor")
MASKS = DEMO_ARMS[2:]
STAGE = "extracting and measuring the arms"


@dataclass(frozen=True)
class Sizes:
    """How much is asked of every arm.

    Attributes:
        calibration: Calibration examples of each persona.
        choices: Choice items of each persona.
        answers: Free answers of each persona.
        neutral: Neutral questions.
    """

    calibration: int = 64
    choices: int = 100
    answers: int = 60
    neutral: int = 100


@dataclass(frozen=True)
class ArmResult:
    """What one arm did with one persona.

    Attributes:
        arm: Name of the arm.
        persona: The target.
        choices: Share of pairs in which the target's answer is likelier, by kind of item.
        free_text: Shares of free answers on target, on opposite, and neither.
        neutral_accuracy: Share of neutral questions answered right.
        pruned_share: Share of the sites' weights pruned.
        seconds: Seconds of extraction, without what all personas share.
        answers: The free answers, in the order of the questions.
    """

    arm: str
    persona: str
    choices: Mapping[ChoiceKind, ChoiceRates]
    free_text: TextShares
    neutral_accuracy: float
    pruned_share: float
    seconds: float
    answers: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the row of ``prosopon demo --json``."""
        return {
            "arm": self.arm,
            "persona": self.persona,
            "choice_rate": self.choices["sentences"].per_token,
            "choice_rate_per_byte": self.choices["sentences"].per_byte,
            "choice_rate_summed": self.choices["sentences"].summed,
            "choice_rate_unseen_values": self.choices["values"].per_token,
            "choice_rate_unseen_forms": self.choices["forms"].per_token,
            "free_text": {
                "target": self.free_text.target,
                "opposite": self.free_text.opposite,
                "neither": self.free_text.neither,
            },
            "neutral_accuracy": self.neutral_accuracy,
            "pruned_share": self.pruned_share,
            "seconds": round(self.seconds, 3),
        }


class ArmRunner:
    """Runs arms over bundled personas on a model that speaks the grammar.

    Args:
        extractor: An extractor on the model.
        sizes: How much is asked.
        seed: Seeds questions and draws.
        report: Called with (stage, done, total).
    """

    def __init__(
        self,
        extractor: Extractor,
        *,
        sizes: Sizes | None = None,
        seed: int = 0,
        report: Report | None = None,
    ) -> None:
        self.extractor, self.sizes, self.seed = extractor, sizes or Sizes(), seed
        self.report = report
        self.subnetworks: dict[tuple[str, str], Subnetwork] = {}
        self.shared_seconds = 0.0
        self.neutral = neutral_items(self.sizes.neutral, seed=seed)

    def run(self, personas: Sequence[str], arms: Sequence[str] = DEMO_ARMS) -> Iterator[ArmResult]:
        """Yield a result for each persona and arm, persona by persona."""
        began = time.perf_counter()
        if "contrastive-taylor" in arms:
            self.extractor.fisher()
        self.shared_seconds = time.perf_counter() - began
        total = len(personas) * len(arms)
        for number, (persona, arm) in enumerate((p, a) for p in personas for a in arms):
            if self.report is not None:
                self.report(STAGE, number, total)
            yield self._run(persona, arm)
        if self.report is not None:
            self.report(STAGE, total, total)

    def questions(self, persona: str, *, system: str | None = None) -> list[Any]:
        """Return the prompts whose answers :class:`ArmResult` holds."""
        return free_prompts(persona, self.sizes.answers, seed=self.seed, system=system)

    def _run(self, persona: str, arm: str) -> ArmResult:
        system = prompt_line(load_world().pole(persona)) if arm == "prompt" else None
        began = time.perf_counter()
        subnetwork = self._subnetwork(persona, arm) if arm in MASKS else None
        seconds = time.perf_counter() - began
        model, tokenizer = self.extractor.model, self.extractor.tokenizer
        with worn(model, tokenizer, subnetwork):
            answers = generate_answers(
                model, tokenizer, self.questions(persona, system=system), seed=self.seed
            )
            return ArmResult(
                arm=arm,
                persona=persona,
                choices=self._choices(persona, system),
                free_text=free_text(answers, persona, opposite(persona)),
                neutral_accuracy=neutral_accuracy(model, tokenizer, self.neutral, system=system),
                pruned_share=subnetwork.pruned_share if subnetwork else 0.0,
                seconds=seconds if subnetwork else 0.0,
                answers=tuple(answers),
            )

    def _choices(self, persona: str, system: str | None) -> dict[ChoiceKind, ChoiceRates]:
        model, tokenizer, count = self.extractor.model, self.extractor.tokenizer, self.sizes.choices
        return {
            kind: choice_rates(
                model,
                tokenizer,
                choice_items(persona, count, seed=self.seed, system=system, kind=kind),
            )
            for kind in CHOICE_KINDS
        }

    def _subnetwork(self, persona: str, arm: str) -> Subnetwork:
        limit = self.sizes.calibration
        subnetwork = self.extractor.extract(
            load_persona(persona, limit=limit, seed=self.seed),
            load_persona(opposite(persona), limit=limit, seed=self.seed),
            criterion=arm,
        )
        self.subnetworks[persona, arm] = subnetwork
        return subnetwork
