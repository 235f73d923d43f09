"""Paired choice: does the model find the persona's answer likelier than its opposite?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prosopon.data import Encoded, Message, encode_all, encode_continuations
from prosopon.errors import DataError
from prosopon.lm import row_log_likelihoods


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
    model: Any,
    tokenizer: Any,
    items: Sequence[tuple[Sequence[Message], str]],
    *,
    max_tokens: int = 4096,
    max_length: int | None = None,
) -> list[AnswerScore]:
    """Return the log-likelihood of each (prompt, answer), in order.

    Args:
        model: A causal LM.
        tokenizer: Its tokenizer.
        items: Prompts with answers. A prompt of a single assistant message is plain text: its
            answer goes on from it, see :func:`prosopon.data.encode_continuations`.
        max_tokens: Most tokens, padding included, in one forward pass.
        max_length: Longest prompt with answer; longer ones lose their beginning. Default all.

    Raises:
        DataError: An answer has no tokens, or there is nothing before its first one.
    """
    encoded = _encoded(tokenizer, items, max_length)
    rows = row_log_likelihoods(model, encoded, every=False, max_tokens=max_tokens)
    return [
        AnswerScore(total, tokens, len(answer.encode()))
        for (total, tokens), (_, answer) in zip(rows, items, strict=True)
    ]


def is_plain(prompt: Sequence[Message]) -> bool:
    """Tell whether a prompt is plain text to go on from rather than a dialogue."""
    return not prompt or (len(prompt) == 1 and prompt[0].role == "assistant")


def plain_text(prompt: Sequence[Message]) -> str:
    """Return the text of a plain prompt; empty where there is no message."""
    return prompt[0].content if prompt else ""


def _encoded(
    tokenizer: Any, items: Sequence[tuple[Sequence[Message], str]], max_length: int | None
) -> list[Encoded]:
    plain = [index for index, (prompt, _) in enumerate(items) if is_plain(prompt)]
    texts = [(plain_text(items[index][0]), items[index][1]) for index in plain]
    found = dict(
        zip(plain, encode_continuations(texts, tokenizer, max_length=max_length), strict=True)
    )
    talks = [index for index in range(len(items)) if index not in found]
    turns = [(*items[index][0], Message("assistant", items[index][1])) for index in talks]
    found |= dict(zip(talks, encode_all(turns, tokenizer, max_length=max_length), strict=True))
    return [_begun(found[index], tokenizer) for index in range(len(items))]


def _begun(encoded: Encoded, tokenizer: Any) -> Encoded:
    """Put the model's start of text before an answer that nothing stands before.

    A first token without a predecessor has no likelihood; left out, answers that begin
    differently would not be comparable.
    """
    if not encoded.response[0]:
        return encoded
    start = tokenizer.bos_token_id
    start = tokenizer.eos_token_id if start is None else start
    if start is None:
        raise DataError("the tokenizer has no token that begins a text, so nothing can be scored")
    ids, counted = encoded.input_ids, encoded.response
    return Encoded([start, *ids], [False, *counted], [False, *counted])


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
