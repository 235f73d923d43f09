"""Paired choice: does the model find the persona's answer likelier than its opposite?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from prosopon.data import Message, encode, length_buckets
from prosopon.errors import DataError
from prosopon.statistics import response_mask, token_log_likelihoods


@dataclass(frozen=True)
class ChoiceItem:
    """A prompt with an answer that matches the persona and one that does not."""

    prompt: tuple[Message, ...]
    matching: str
    not_matching: str


@dataclass(frozen=True)
class AnswerScore:
    """Log-likelihood of an answer.

    Attributes:
        total: Natural log of the answer's probability given the prompt.
        tokens: Tokens of the answer (with the end of the turn, where the template has one).
        size: Bytes of the answer in UTF-8.
    """

    total: float
    tokens: int
    size: int


@dataclass(frozen=True)
class ChoiceRates:
    """Share of items whose matching answer wins, under three normalisations; ties count half."""

    per_token: float
    per_byte: float
    summed: float


def score_answers(
    model: Any, tokenizer: Any, items: Sequence[tuple[Sequence[Message], str]]
) -> list[AnswerScore]:
    """Return the log-likelihood of each (prompt, answer), in order.

    Raises:
        DataError: An answer has no tokens.
    """
    encoded = [
        encode((*prompt, Message("assistant", answer)), tokenizer) for prompt, answer in items
    ]
    scores: list[AnswerScore | None] = [None] * len(items)
    with torch.no_grad():
        for batch in length_buckets(encoded):
            mask = response_mask(batch)
            values = token_log_likelihoods(model, batch).cpu().double() * mask
            for row, index in enumerate(batch.index):
                size = len(items[index][1].encode())
                scores[index] = AnswerScore(float(values[row].sum()), int(mask[row].sum()), size)
    return [score for score in scores if score is not None]


def choice_rates(model: Any, tokenizer: Any, items: Sequence[ChoiceItem]) -> ChoiceRates:
    """Return how often the matching answer is likelier than the other one.

    Raises:
        DataError: There are no items.
    """
    if not items:
        raise DataError("no choice items to score")
    asked = [(item.prompt, item.matching) for item in items]
    asked += [(item.prompt, item.not_matching) for item in items]
    scores = score_answers(model, tokenizer, asked)
    ours, theirs = scores[: len(items)], scores[len(items) :]
    return ChoiceRates(
        per_token=_rate([s.total / s.tokens for s in ours], [s.total / s.tokens for s in theirs]),
        per_byte=_rate([s.total / s.size for s in ours], [s.total / s.size for s in theirs]),
        summed=_rate([s.total for s in ours], [s.total for s in theirs]),
    )


def _rate(ours: Sequence[float], theirs: Sequence[float]) -> float:
    wins = sum((a > b) + 0.5 * (a == b) for a, b in zip(ours, theirs, strict=True))
    return wins / len(ours)
