"""Whether a text is language like some known texts: no loop, no salad of words, no other tongue."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from prosopon.judges.degeneration import WORD, grams, repeated_share

FEWEST = 2  # words that are enough, whatever the known texts have
FEW = 0.05  # share of known texts that may be shorter than twice what is too short
MOST_UNKNOWN = 0.5  # share of new words in a text that a model can read

UNSURE = 0.01  # share of known texts that may be stranger than the limit
LEAST_EXCESS = 3.0  # standard errors of unknown words that are never held against a text
LEAST_REPETITION = 0.25  # share of repeated 3-grams that is never held against a text


class Reader(Protocol):
    """Reads texts with a model; see :class:`~prosopon.judges.reader.BaseReader`."""

    def passes(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[bool]:
        """Return of each text whether it is likely enough to be language."""


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

    A text is none where it has next to no words and the known ones have more, or repeats itself
    more than any of them. Beyond that the base model is asked, where it can be read with
    (:class:`~prosopon.judges.reader.BaseReader`), and a text most of whose words are new is
    another tongue. Without it a text is none that holds more new words or new pairs of words than
    99% of the known ones hold beside the others.

    Args:
        texts: Texts that are language, at least one.
        more: Further texts whose words are known: questions, or the base model's own texts.
        reader: Reads texts with the base model.
    """

    def __init__(
        self, texts: Sequence[str], more: Sequence[str] = (), reader: Reader | None = None
    ) -> None:
        rows = [_words(text) for text in dict.fromkeys(texts)]
        further = [_words(text) for text in more]
        self._fewest = min(FEWEST, sorted(map(_spoken, rows))[int(FEW * len(rows))] / 2)
        self._repetition = max(LEAST_REPETITION, *map(repeated_share, rows))
        self._reader = reader
        self._vocabulary = {word for words in (*rows, *further) for word in words}
        sizes = () if reader else (1, 2)
        self._novelties = [Novelty(rows, further, size) for size in sizes]

    def passes(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[bool]:
        """Return of each text whether it is language like the known ones.

        Args:
            texts: The texts.
            prompts: What they answer, as text; empty where nothing is known of it.
        """
        verdicts = [self._reads(_words(text)) for text in texts]
        if self._reader is None:
            return verdicts
        left = [index for index, reads in enumerate(verdicts) if reads]
        likely = self._reader.passes(
            [texts[index] for index in left], [prompts[index] for index in left] if prompts else ()
        )
        for index, passes in zip(left, likely, strict=True):
            verdicts[index] = passes
        return verdicts

    def _reads(self, words: Sequence[str]) -> bool:
        if not words or _spoken(words) < self._fewest or repeated_share(words) > self._repetition:
            return False
        if self._reader is not None:
            unknown = sum(word not in self._vocabulary for word in words)
            return unknown <= MOST_UNKNOWN * len(words)
        return not any(novelty.too_much(words) for novelty in self._novelties)


def _spoken(words: Sequence[str]) -> int:
    """Return how many are words and no punctuation."""
    return sum(word[0].isalnum() for word in words)


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())
