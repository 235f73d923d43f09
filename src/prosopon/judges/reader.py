"""The base model as the yardstick of language: what it writes itself, how it reads what arms write.

Text of a broken model is unlikely under the base, word by word. How unlikely language may be, the
base's own answers say, and those of the known authors.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from statistics import fmean, median
from typing import Any

from prosopon.data import Encoded, Message
from prosopon.data.questions import prompt_text
from prosopon.lm import counted_tokens, decode, generate_answers, row_log_likelihoods
from prosopon.lm.answers import score_answers

Exchange = tuple[str, str]
"""A prompt as text, and its answer."""

BEYOND = 0.05  # share of what is language that may be found less likely than the limit
MAX_TOKENS = 1024  # in one forward pass
OWN = 60  # of its own answers show what the base says anyway
SEED = 1_000_033  # no arm's answers are drawn with it


class BaseReader:
    """Reads texts with the base model, and knows what the base writes itself.

    A text is language unless it costs the base more nats a token than 95% of the base's own
    answers to open and to neutral questions do, or 95% of the known authors' answers, whichever
    is more. A mean over few tokens varies more, so the excess over the base's mean counts times
    the square root of the tokens, or of the median number of them where there are more. Whatever
    is as likely as the base's own answer to the same question is language, too.

    Whatever the model wears while something is read is what reads: ask it when the arm is gone.

    Args:
        model: The base model.
        tokenizer: Its tokenizer.
        neutral: Gives its own texts on what asks for no persona.
        exchanges: Prompts with answers of known authors.
        max_new_tokens: Longest answer of the base.
        max_length: Longest prompt with answer; longer ones lose their beginning.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        neutral: Callable[[], Sequence[Encoded]] = tuple,
        exchanges: Sequence[tuple[Sequence[Message], str]] = (),
        max_new_tokens: int = 48,
        max_length: int | None = None,
    ) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._exchanges = [(prompt_text(prompt), text) for prompt, text in exchanges]
        self._prompts = {prompt_text(prompt): tuple(prompt) for prompt, _ in exchanges}
        self._open_prompts = dict[str, tuple[Message, ...]]()
        self._write_neutral = neutral
        self._max_length = max_length
        self._max_new_tokens = min(max_new_tokens, (max_length or 2 * max_new_tokens) // 2)
        self._cache: dict[Exchange, tuple[float, int]] = {}

    def expect(self, prompts: Sequence[Sequence[Message]], *, answer: bool = True) -> None:
        """Name open questions, before the first text is read.

        Args:
            prompts: The questions; other prompts are taken for a user's turn.
            answer: Whether the base shall answer them.
        """
        named = {prompt_text(prompt): tuple(prompt) for prompt in prompts}
        self._prompts |= named
        if answer:
            self._open_prompts = named

    @cached_property
    def neutral(self) -> list[str]:
        """The base's own texts on what asks for no persona."""
        return decode([counted_tokens(text) for text in self._encoded], self._tokenizer)

    @cached_property
    def _encoded(self) -> Sequence[Encoded]:
        return self._write_neutral()

    @cached_property
    def answers(self) -> Mapping[str, str]:
        """The base's own answer to each open question, at temperature 1, by the question."""
        written = generate_answers(
            self._model, self._tokenizer, list(self._open_prompts.values()), temperature=1.0,
            max_new_tokens=self._max_new_tokens, max_length=self._max_length, seed=SEED,
        )  # fmt: skip
        return dict(zip(self._open_prompts, written, strict=True))

    def read(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[tuple[float, int]]:
        """Return (nats, tokens) of each text after its prompt, in order; a blank one has none.

        Args:
            texts: The texts.
            prompts: What they answer, as text; empty where nothing is known of it.
        """
        exchanges = list(zip(prompts or [""] * len(texts), texts, strict=True))
        missing = [
            exchange
            for exchange in dict.fromkeys(exchanges)
            if exchange[1].strip() and exchange not in self._cache
        ]
        if not missing:
            return [self._cache.get(exchange, (0.0, 0)) for exchange in exchanges]
        scores = score_answers(
            self._model, self._tokenizer, [(self._prompt(q), text) for q, text in missing],
            max_tokens=MAX_TOKENS, max_length=self._max_length,
        )  # fmt: skip
        self._cache |= {
            exchange: (-score.total, score.tokens)
            for exchange, score in zip(missing, scores, strict=True)
        }
        return [self._cache.get(exchange, (0.0, 0)) for exchange in exchanges]

    def recall(self, rows: Mapping[Exchange, tuple[float, int]]) -> None:
        """Take nats and tokens that this base was measured to find before, instead of reading."""
        self._cache |= rows

    def own_answers(self, prompts: Sequence[Sequence[Message]], count: int = OWN) -> list[str]:
        """Return at least ``count`` of the base's own answers to some questions, none blank.

        At temperature 1, the questions in turn; fewer where it says nothing, none without
        questions.
        """
        questions = [prompt for prompt in prompts if prompt]
        if not questions:
            return []
        written = generate_answers(
            self._model, self._tokenizer, questions * math.ceil(count / len(questions)),
            temperature=1.0, max_new_tokens=self._max_new_tokens, max_length=self._max_length,
            seed=SEED,
        )  # fmt: skip
        return [text for text in written if text.strip()]

    def passes(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[bool]:
        """Return of each text whether the base finds it likely enough to be language."""
        limit, prompts = self._limit, prompts or [""] * len(texts)
        return [
            tokens > 0 and self._excess((nats, tokens)) <= max(limit, self._open.get(prompt, limit))
            for (nats, tokens), prompt in zip(self.read(texts, prompts), prompts, strict=True)
        ]

    def _prompt(self, text: str) -> tuple[Message, ...]:
        return self._prompts.get(text, (Message("user", text),) if text else ())

    @cached_property
    def _own(self) -> list[tuple[float, int]]:
        """Nats and tokens of what the base wrote."""
        rows = row_log_likelihoods(self._model, self._encoded, every=True, max_tokens=MAX_TOKENS)
        neutral = [(-total, count) for total, count in rows]
        # Where they are judged as plain texts, they are read as they were written.
        self._cache |= {("", text): row for text, row in zip(self.neutral, neutral, strict=True)}
        return [row for row in (*self._read_answers(), *neutral) if row[1]]

    def _read_answers(self) -> list[tuple[float, int]]:
        return self.read(list(self.answers.values()), list(self.answers))

    @cached_property
    def _open(self) -> dict[str, float]:
        """The excess of the base's answer to each open question."""
        rows = zip(self.answers, self._read_answers(), strict=True)
        return {prompt: self._excess(row) for prompt, row in rows if row[1]}

    @cached_property
    def _theirs(self) -> list[tuple[float, int]]:
        """Nats and tokens of what known authors wrote."""
        rows = self.read(
            [text for _, text in self._exchanges], [prompt for prompt, _ in self._exchanges]
        )
        return [row for row in rows if row[1]]

    @cached_property
    def _scale(self) -> tuple[float, float]:
        """Mean nats a token and the median number of tokens, of the base if it wrote anything."""
        rows = self._own or self._theirs or [(0.0, 1)]
        return fmean(nats / count for nats, count in rows), median(count for _, count in rows)

    def _excess(self, row: tuple[float, int]) -> float:
        return excess(*row, *self._scale)

    @cached_property
    def _limit(self) -> float:
        groups = [[*map(self._excess, rows)] for rows in (self._own, self._theirs)]
        return max((_worst(excesses) for excesses in groups if excesses), default=0.0)


def excess(nats: float, tokens: float, mean: float, typical: float) -> float:
    """Return the nats a token above a mean, times the square root of the tokens.

    Of more than ``typical`` tokens only so many count: a mean over few tokens varies more.
    """
    return (nats / tokens - mean) * math.sqrt(min(tokens, typical))


def _worst(excesses: Sequence[float]) -> float:
    return sorted(excesses)[math.ceil((1 - BEYOND) * len(excesses)) - 1]
