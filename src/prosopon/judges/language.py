"""Whether a text is language like some known texts: no loop, no salad of words, no other tongue."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

from prosopon.judges.degeneration import WORD, repeated_share

FEWEST = 2  # words that are enough, whatever the known texts have
FEW = 0.05  # share of known texts that may be shorter than twice what is too short
MOST_UNKNOWN = 0.5  # share of a text's words that may be new
COMMON = 200  # words that stand for themselves where order is looked at

UNSURE = 0.01  # share of known texts that may be stranger than the limit
LEAST_EXCESS = 3.0  # standard errors of unknown words that are never held against a text
LEAST_REPETITION = 0.25  # share of repeated 3-grams that is never held against a text


class LanguageReader(Protocol):
    """Reads texts with a model; see :class:`~prosopon.judges.reader.BaseReader`."""

    def passes(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[bool]:
        """Return of each text whether it is likely enough to be language."""


class NewWords:
    """How many words of a text no other known text holds.

    Args:
        texts: Words of the known texts; each is looked at as if it were not known itself.
        vocabulary: Further words, which are known but set no limit.
    """

    def __init__(self, texts: Sequence[Sequence[str]], vocabulary: set[str]) -> None:
        holders = Counter(word for words in texts for word in set(words))
        unknown = [
            sum(holders[word] == 1 and word not in vocabulary for word in words) for words in texts
        ]
        self._rate = sum(unknown) / max(1, sum(map(len, texts)))
        excesses = sorted(
            self._excess(count, len(words)) for count, words in zip(unknown, texts, strict=True)
        )
        self._limit = max(LEAST_EXCESS, excesses[int((1 - UNSURE) * (len(excesses) - 1))])
        self._vocabulary = vocabulary | set(holders)

    def share(self, words: Sequence[str]) -> float:
        """Return the share of words that are new."""
        return self._count(words) / max(1, len(words))

    def too_many(self, words: Sequence[str]) -> bool:
        """Tell whether more are new than in nearly all known texts."""
        return self._excess(self._count(words), len(words)) > self._limit

    def _count(self, words: Sequence[str]) -> int:
        return sum(word not in self._vocabulary for word in words)

    def _excess(self, unknown: int, count: int) -> float:
        """Return how many standard errors above the known texts' rate ``unknown`` of them are."""
        rate = self._rate
        return (unknown - count * rate) / math.sqrt(count * rate * (1 - rate) + 1)


class WordOrder:
    """Tells texts from their own words in disorder, by pairs of neighbours.

    A logistic regression learns it from the known texts and one disorder of each. Common words
    stand for themselves, others for their last two letters, so that what is learned is grammar.

    Args:
        texts: The known texts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        rows = [_words(text) for text in texts]
        holders = Counter(word for words in rows for word in set(words))
        self._common = {word for word, _ in holders.most_common(COMMON)}
        rng = random.Random(0)
        mixed = [_words(" ".join(rng.sample(t.split(), len(t.split())))) for t in texts]
        mixed = [words for words in mixed if words not in rows]
        self._pipeline: Any = None
        if mixed:
            from sklearn.feature_extraction import DictVectorizer
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline

            model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000)
            pairs = [self._pairs(words) for words in (*rows, *mixed)]
            labels = [1] * len(rows) + [0] * len(mixed)
            self._pipeline = make_pipeline(DictVectorizer(), model).fit(pairs, labels)

    def holds(self, words: Sequence[str]) -> bool:
        """Tell whether words stand in an order rather than in none; one word does."""
        if self._pipeline is None or len(words) < 2:
            return True
        return bool(self._pipeline.predict([self._pairs(words)])[0])

    def _pairs(self, words: Sequence[str]) -> dict[str, float]:
        marks = ["^", *(w if w in self._common else f"~{w[-2:]}" for w in words), "$"]
        counts = Counter(f"{a} {b}" for a, b in pairwise(marks))
        return {pair: count / math.sqrt(len(marks)) for pair, count in counts.items()}


class LanguageCheck:
    """Tells texts like the known ones from what is no language, or another one.

    A text is none where it has next to no words and the known ones have more, or repeats itself
    more than any of them. Beyond that the base model is asked, where it can be read with
    (:class:`~prosopon.judges.reader.BaseReader`), and a text most of whose words are new is
    another tongue. Without it a text is none that holds more new words than 99% of the known ones
    hold beside the others, or whose words are in disorder (:class:`WordOrder`).

    Args:
        texts: Texts that are language, at least one.
        more: Further texts whose words are known: questions, or the base model's own texts.
        reader: Reads texts with the base model.
    """

    def __init__(
        self, texts: Sequence[str], more: Sequence[str] = (), reader: LanguageReader | None = None
    ) -> None:
        rows = [_words(text) for text in dict.fromkeys(texts)]
        further = [_words(text) for text in more]
        self._fewest = min(FEWEST, sorted(map(_spoken, rows))[int(FEW * len(rows))] / 2)
        self._repetition = max(LEAST_REPETITION, *map(repeated_share, rows))
        self._reader = reader
        self._new = NewWords(rows, {word for words in further for word in words})
        self._order = None if reader else WordOrder(list(dict.fromkeys(texts)))

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
        if self._new.share(words) > MOST_UNKNOWN:
            return False
        return self._order is None or (not self._new.too_many(words) and self._order.holds(words))


def _spoken(words: Sequence[str]) -> int:
    """Return how many are words and no punctuation."""
    return sum(word[0].isalnum() for word in words)


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())
