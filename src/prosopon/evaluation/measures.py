"""What is measured of one worn mask, the same columns for every model and data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from prosopon.errors import OptionError
from prosopon.judges import degeneration
from prosopon.lm import perplexity
from prosopon.subnetwork import Subnetwork

__all__ = ["MEASURES", "Effort", "Measures", "Meter", "perplexity", "text_measures"]


@dataclass(frozen=True)
class Effort:
    """How much is asked of every mask.

    Attributes:
        choices: Pairs of answers.
        answers: Free answers.
        max_new_tokens: Longest free answer.
        general: General texts for the perplexity.
        neutral: Neutral questions (embedded model only).
        cross: Pairs of answers for every other axis (embedded model only).
        judge: Most texts of each side that train the judge (any other model or data).
    """

    choices: int = 100
    answers: int = 60
    max_new_tokens: int = 48
    general: int = 64
    neutral: int = 100
    cross: int = 40
    judge: int = 200

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise OptionError(f"{field.name}={getattr(self, field.name)}: must be at least 1")


@dataclass(frozen=True)
class Measures:
    """What one mask, one prompt, or the base did with one persona; None: not measured here.

    Attributes:
        choice_per_token: Share of held-out pairs whose target answer is likelier per token.
        choice_summed: The same by summed log-likelihood.
        choice_per_byte: The same per byte.
        target: Share of free answers that are the target's.
        opposite: Share that are the opposite's.
        neither: The rest.
        skills: Share of neutral questions answered right.
        perplexity: Of held-out general text, read without any system line.
        perplexity_ratio: The same over the base model's.
        cross_talk: Mean absolute change of the choice rate (per token) on the other axes against
            the base under the same questions.
        repetition: See :class:`prosopon.judges.Degeneration`; of the free answers.
        distinct_bigrams: Likewise.
        mean_words: Likewise.
        empty: Likewise.
        judge_accuracy: Cross-validated accuracy of the judge of the free answers; None where the
            grammar judges.
    """

    choice_per_token: float
    choice_summed: float
    choice_per_byte: float
    target: float
    opposite: float
    neither: float
    skills: float | None
    perplexity: float
    perplexity_ratio: float
    cross_talk: float | None
    repetition: float
    distinct_bigrams: float
    mean_words: float
    empty: float
    judge_accuracy: float | None

    def to_json(self) -> dict[str, float | None]:
        """Return a flat JSON object."""
        return dataclasses.asdict(self)


MEASURES = tuple(field.name for field in dataclasses.fields(Measures))
"""Names of all measures, in the order of the columns."""


class Meter(Protocol):
    """Measures masks of one model, each beside the base."""

    def measure(
        self,
        persona: str,
        subnetwork: Subnetwork | None = None,
        *,
        system: str | None = None,
        seed: int = 0,
    ) -> Measures:
        """Wear ``subnetwork`` (None: the base), ask, and take it off again.

        Args:
            persona: The target.
            subnetwork: What to wear.
            system: A system line before every question.
            seed: Seeds the questions and the draws.
        """


def text_measures(answers: Sequence[str]) -> dict[str, float]:
    """Return the measures of degeneration of free answers by name."""
    return dataclasses.asdict(degeneration(answers))
