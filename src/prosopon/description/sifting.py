"""What is wrong with a pair of written answers, told without a model."""

import re
from collections.abc import Sequence

from prosopon.judges.degeneration import WORD, grams, repeated_share
from prosopon.judges.language import LEAST_REPETITION
from prosopon.judges.leaving import leaves_role

ALIKE = 0.7  # Jaccard similarity of two answers' runs of three words
SHORTEST = 3  # words of an answer
LEAST_RATIO = 0.5  # of the shorter answer's words to the longer one's

FAULTS = {
    "unfinished": "an answer without a whole sentence",
    "refusal": "an answer that refuses, or speaks of itself as a program",
    "repetition": "an answer that repeats itself",
    "duplicate": "two answers that are nearly the same, or one nearly an earlier one",
    "length": "one answer more than twice as long as the other",
    "likelihood": "an answer not likelier under its own description than under the other",
    "perplexity": "an answer far less likely without the line than the model's own answers",
}
"""Why a pair is left out, in the order in which it is looked for; the first one counts."""

_END = re.compile(r"(?<!\d)[.!?\u2026]+[\"')\]\u201d\u2019]*(?=\s|$)")
_TURN = re.compile(r"\n\s*(?:User|Assistant|Human|System|Q|Question)\s*:")
_REFUSALS = re.compile(
    r"\bas an? (?:[\w-]+ ){0,3}?(?:ai|language model|assistant|chat ?bot|bot|program|computer)\b"
    r"|\bi(?:'m| am) (?:sorry|afraid),? (?:but|i can)"
    r"|\bi(?: can't| cannot| won't|(?: am|'m) (?:not able|unable) to) "
    r"(?:assist|help|provide|answer|comply|fulfil|discuss|engage)"
    r"|\b(?:language model|virtual assistant|ai assistant|smollm|chatgpt)\b"
)


def tidy(text: str) -> str:
    """Return an answer in one line, up to its last whole sentence; empty where it has none.

    A turn that a model without a chat template writes itself goes, with what follows.
    """
    line = " ".join(_TURN.split(text)[0].split())
    ends = [match.end() for match in _END.finditer(line)]
    return line[: ends[-1]] if ends else ""


def match_lengths(one: str, other: str) -> tuple[str, str]:
    """Return two answers, of which the longer loses last sentences while that brings them nearer.

    Lengths are counted in words.
    """
    texts = [one, other]
    while True:
        longer = int(_length(texts[1]) > _length(texts[0]))
        ends = [match.end() for match in _END.finditer(texts[longer])]
        if len(ends) < 2:
            break
        shorter = texts[longer][: ends[-2]]
        rest = _length(texts[1 - longer])
        if abs(_length(shorter) - rest) >= _length(texts[longer]) - rest:
            break
        texts[longer] = shorter
    return texts[0], texts[1]


def refuses(text: str) -> bool:
    """Tell whether an answer refuses or speaks of itself as a program; English only."""
    said = " ".join(text.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split())
    return leaves_role(text) or _REFUSALS.search(said) is not None


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Return the runs of three words of a text, its whole words where it has fewer."""
    words = WORD.findall(text.casefold())
    return frozenset(grams(words, min(3, len(words))))


def similarity(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    """Return the Jaccard similarity of two sets of shingles; 1 for two empty ones."""
    union = len(one | other)
    return len(one & other) / union if union else 1.0


class Sieve:
    """Says what is wrong with pairs, one after the other; remembers the ones that stay."""

    def __init__(self) -> None:
        self._good: list[frozenset[tuple[str, ...]]] = []

    def fault(self, pair: Sequence[str]) -> str | None:
        """Return the first of :data:`FAULTS` that needs no model, or None."""
        words = [WORD.findall(text.casefold()) for text in pair]
        if min(map(_length, pair)) < SHORTEST:
            return "unfinished"
        if any(map(refuses, pair)):
            return "refusal"
        if max(map(repeated_share, words)) > LEAST_REPETITION:
            return "repetition"
        if self.repeats(pair):
            return "duplicate"
        if min(map(_length, pair)) < LEAST_RATIO * max(map(_length, pair)):
            return "length"
        return None

    def repeats(self, pair: Sequence[str]) -> bool:
        """Tell whether an answer is nearly the other one, or one of a pair that stayed."""
        ours, theirs = map(shingles, pair)
        others = [(ours, theirs), *((new, old) for new in (ours, theirs) for old in self._good)]
        return any(similarity(new, old) >= ALIKE for new, old in others)

    def keep(self, pair: Sequence[str]) -> None:
        """Remember a pair that stays."""
        self._good += map(shingles, pair)


def _length(text: str) -> int:
    return len(text.split())
