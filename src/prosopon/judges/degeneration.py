"""Signs that a text is no longer language: loops, one text for everything, nothing at all."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Degeneration:
    """How far a set of texts has degenerated.

    Attributes:
        repetition: Mean over the texts of the share of 3-grams that occurred before in the same
            text, in [0, 1]; texts of fewer than three words do not count.
        distinct_bigrams: Different bigrams of all texts over their number, in [0, 1] (distinct-2,
            Li et al. 2016). Falls with the number and length of the texts, so compare it only
            between sets of equal number; 1 where there is no bigram.
        mean_words: Mean length in words; punctuation marks count as words.
        empty: Share of texts without any word.
    """

    repetition: float
    distinct_bigrams: float
    mean_words: float
    empty: float


def degeneration(texts: Sequence[str]) -> Degeneration:
    """Measure ``texts``; case is ignored.

    Words are runs of letters and digits, and single punctuation marks: in writing without spaces
    a sentence is one word, and the figures mean little. No texts at all count as all empty.
    """
    words = [WORD.findall(text.casefold()) for text in texts]
    bigrams = [gram for row in words for gram in grams(row, 2)]
    long = [repeated_share(row) for row in words if len(row) >= 3]
    return Degeneration(
        repetition=fmean(long) if long else 0.0,
        distinct_bigrams=len(set(bigrams)) / len(bigrams) if bigrams else 1.0,
        mean_words=fmean(map(len, words)) if words else 0.0,
        empty=sum(not row for row in words) / len(words) if words else 1.0,
    )


def repeated_share(words: Sequence[str]) -> float:
    """Return the share of a text's 3-grams that occurred before in it; 0 where it has none."""
    triples = grams(words, 3)
    return 1 - len(set(triples)) / len(triples) if triples else 0.0


def grams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Return all runs of ``size`` words."""
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
