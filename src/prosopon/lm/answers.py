"""How likely answers are after their prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prosopon.data import Encoded, Message, encode_all, encode_continuations
from prosopon.data.openings import is_plain, plain_text
from prosopon.errors import DataError
from prosopon.lm.likelihood import row_log_likelihoods


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
    encoded = _encode(tokenizer, items, max_length)
    rows = row_log_likelihoods(model, encoded, every=False, max_tokens=max_tokens)
    return [
        AnswerScore(total, tokens, len(answer.encode()))
        for (total, tokens), (_, answer) in zip(rows, items, strict=True)
    ]


def nats_per_token(model: Any, tokenizer: Any, texts: Sequence[str]) -> list[float]:
    """Return the negative log-likelihood per token of plain texts, read with nothing before them.

    Raises:
        DataError: A text has no tokens.
    """
    scores = score_answers(model, tokenizer, [((), text) for text in texts])
    return [-score.total / score.tokens for score in scores]


def _encode(
    tokenizer: Any, items: Sequence[tuple[Sequence[Message], str]], max_length: int | None
) -> list[Encoded]:
    plain = [index for index, (prompt, _) in enumerate(items) if is_plain(prompt)]
    texts = [(plain_text(items[index][0]), items[index][1]) for index in plain]
    rows = dict(
        zip(plain, encode_continuations(texts, tokenizer, max_length=max_length), strict=True)
    )
    talks = [index for index in range(len(items)) if index not in rows]
    turns = [(*items[index][0], Message("assistant", items[index][1])) for index in talks]
    rows |= dict(zip(talks, encode_all(turns, tokenizer, max_length=max_length), strict=True))
    return [_begin(rows[index], tokenizer) for index in range(len(items))]


def _begin(encoded: Encoded, tokenizer: Any) -> Encoded:
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
