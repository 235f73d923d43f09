"""Whether a text is language like some known texts: no loop, no salad of words, no other tongue."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from prosopon.judges.degeneration import WORD, grams, repeated_share

Nats = Callable[[Sequence[str]], Sequence[float]]
"""From texts to nats per token under a model."""

UNSURE = 0.01  # share of known texts that may be stranger than the limit
LEAST_EXCESS = 3.0  # standard errors of unknown words that are never held against a text
LEAST_REPETITION = 0.25  # share of repeated 3-grams that is never held against a text


class Novelty:
    """How much of a text is new: words, or words in a row, that no other known text holds.

    Args:
        texts: Words of the known texts; each is looked at as if it were not known itself.
        more: Words of further texts, which are known but set no limit.
        size: Words in a row.
    """

    def __init__(
        self, texts: Sequence[Sequence[str]], more: Sequence[Sequence[str]], size: int
    ) -> None:
        self._size = size
        self._vocabulary = {gram for words in more for gram in grams(words, size)}
        rows = [grams(words, size) for words in texts]
        holders = Counter(gram for row in rows for gram in set(row))
        unknown = [
            sum(holders[gram] == 1 and gram not in self._vocabulary for gram in row) for row in rows
        ]
        self._rate = sum(unknown) / max(1, sum(map(len, rows)))
        excesses = sorted(
            self._excess(count, len(row)) for count, row in zip(unknown, rows, strict=True)
        )
        self._limit = max(LEAST_EXCESS, excesses[int((1 - UNSURE) * (len(excesses) - 1))])
        self._vocabulary |= set(holders)

    def too_much(self, words: Sequence[str]) -> bool:
        """Tell whether more is new than in nearly all known texts."""
        row = grams(words, self._size)
        return (
            self._excess(sum(gram not in self._vocabulary for gram in row), len(row)) > self._limit
        )

    def _excess(self, unknown: int, count: int) -> float:
        """Return how many standard errors above the known texts' rate ``unknown`` of them are."""
        rate = self._rate
        return (unknown - count * rate) / math.sqrt(count * rate * (1 - rate) + 1)


class LanguageCheck:
    """Tells texts like the known ones from what is no language, or another one.

    A text is none where it has fewer than half of the words of the shortest known text, repeats
    itself more than any of them, holds more new words or new pairs of words than 99% of them
    hold beside the others, or, where a model reads them, is less likely per token than all.

    Args:
        texts: Texts that are language, at least one.
        more: Further texts whose words are known: questions, or the base model's own texts.
        nats: Reads texts with the base model: nats per token of each.
    """

    def __init__(
        self, texts: Sequence[str], more: Sequence[str] = (), nats: Nats | None = None
    ) -> None:
        rows = [_words(text) for text in dict.fromkeys(texts)]
        further = [_words(text) for text in more]
        self._fewest = min(map(len, rows)) / 2
        self._repetition = max(LEAST_REPETITION, *map(repeated_share, rows))
        self._novelties = [Novelty(rows, further, size) for size in (1, 2)]
        self._nats = nats
        self._worst = max(nats([*texts, *more])) if nats else math.inf

    def passes(self, texts: Sequence[str]) -> list[bool]:
        """Return of each text whether it is language like the known ones."""
        verdicts = [self._reads(_words(text)) for text in texts]
        readable = [text for text, reads in zip(texts, verdicts, strict=True) if reads]
        if self._nats is None or not readable:
            return verdicts
        nats = iter(self._nats(readable))  # a blank text has none
        return [reads and next(nats) <= self._worst for reads in verdicts]

    def _reads(self, words: Sequence[str]) -> bool:
        if not words or len(words) < self._fewest or repeated_share(words) > self._repetition:
            return False
        return not any(novelty.too_much(words) for novelty in self._novelties)


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())
