"""Paired choice: does an arm find the persona's answer likelier than its opposite's?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prosopon.data.questions import ChoiceItem
from prosopon.errors import DataError
from prosopon.evaluation.speaking import Normalisation, OptionScores
from prosopon.lm.answers import AnswerScore, score_answers
from prosopon.lm.choice import win_margin, win_rate, win_share


@dataclass(frozen=True)
class ChoiceRates:
    """Share of items whose matching answer wins, under three normalisations; ties count half."""

    per_token: float
    per_byte: float
    summed: float


def choice_rates(model: Any, tokenizer: Any, items: Sequence[ChoiceItem]) -> ChoiceRates:
    """Return how often the matching answer is likelier than the other one.

    Raises:
        DataError: There are no items.
        ModelError: A likelihood is NaN.
    """
    if not items:
        raise DataError("no choice items to score")
    pairs = score_pairs(model, tokenizer, items)
    return ChoiceRates(
        per_token=win_rate([[s.total / s.tokens for s in pair] for pair in pairs]),
        per_byte=win_rate([[s.total / s.size for s in pair] for pair in pairs]),
        summed=win_rate([[s.total for s in pair] for pair in pairs]),
    )


def score_pairs(
    model: Any, tokenizer: Any, items: Sequence[ChoiceItem]
) -> list[tuple[AnswerScore, AnswerScore]]:
    """Return the scores of each item's (matching, other) answer."""
    answers = [(item.prompt, item.matching) for item in items]
    answers += [(item.prompt, item.not_matching) for item in items]
    scores = score_answers(model, tokenizer, answers)
    return list(zip(scores[: len(items)], scores[len(items) :], strict=True))


def win(scores: OptionScores, normalisation: Normalisation, option: int = 0) -> float:
    """Return the share of a win that an option has, see :func:`prosopon.lm.choice.win_share`.

    Args:
        scores: Of a question's options.
        normalisation: How answers of different length are compared.
        option: The option.

    Raises:
        ModelError: A score is NaN, so nothing wins.
    """
    return win_share(scores.by[normalisation], option)


def margin(scores: OptionScores, normalisation: Normalisation, option: int = 0) -> float:
    """Return an option's score less the best other one's, in the normalisation's unit (nats)."""
    return win_margin(scores.by[normalisation], option)
