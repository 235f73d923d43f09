"""Keeping apart what a mask is found on, what its judge learns from, and what it is asked."""

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prosopon.data.examples import Example, Persona
from prosopon.data.pairs import PersonaPair
from prosopon.errors import DataError

DIGITS = 16  # of a prompt's hash in the provenance of a mask
SHARE = 0.25  # most of the data that goes to the judge, and to the test


@dataclass(frozen=True)
class Split:
    """Three parts of a contrast that share no prompt."""

    calibration: PersonaPair  # what masks may be found on, (target, opposite)
    judge: PersonaPair  # what the judge of free answers learns from
    test: PersonaPair  # what is asked


def split_contrast(target: Persona, opposite: Persona, *, judge: int, test: int) -> Split:
    """Split by prompt, the same way every time and for both sides alike.

    An example belongs where the hash of its prompt (of its answer, where it has no prompt) puts
    it; so both sides' answers to one prompt stay together, in whatever order the files list them,
    and exchanging target and opposite exchanges the parts. Plain texts of two sides of equal
    number belong together row by row: they may go on from the same beginning.

    ``judge`` and ``test`` are the most prompts of a part; it gets never more than a quarter of all.

    Raises:
        DataError: A part of a side stays empty.
    """
    named = dict(zip(("target", "opposite"), _keys(target, opposite), strict=True))
    keys = sorted({key for side in named.values() for key in side})
    most = max(1, int(SHARE * len(keys)))
    tested = set(keys[: min(test, most)])
    judged = set(keys[len(tested) : len(tested) + min(judge, most)])

    def part(side: str, name: str) -> Persona:
        persona = target if side == "target" else opposite
        rows = zip(persona.examples, named[side], strict=True)
        examples = [e for e, key in rows if _part(key, tested, judged) == name]
        if not examples:
            raise DataError(
                f"{persona.name}: {len(persona)} examples with {len(keys)} different prompts on "
                f"both sides leave none for the {name}; give more"
            )
        return persona.with_examples(examples)

    def pair(name: str) -> PersonaPair:
        return part("target", name), part("opposite", name)

    return Split(pair("calibration"), pair("judge"), pair("test"))


def draw(persona: Persona, count: int, seed: int) -> Persona:
    """Return a persona of ``count`` random examples; see :func:`subset`.

    Raises:
        DataError: There are fewer, so that a curve over the number of examples would lie.
    """
    if count > len(persona):
        raise DataError(
            f"{persona.name}: {count} calibration examples asked, {len(persona)} there are"
        )
    return persona.with_examples(subset(persona.examples, count, seed))


def subset(examples: Sequence[Example], count: int, seed: int) -> tuple[Example, ...]:
    """Return ``count`` random examples in their order; the same rows for lists of equal length."""
    indices = sorted(random.Random(seed).sample(range(len(examples)), count))
    return tuple(examples[index] for index in indices)


def prompt_hashes(*sides: Persona) -> list[str]:
    """Return 16 hexadecimal digits of the hash of every prompt (or lone answer), sorted."""
    return sorted({_key(example)[:DIGITS] for side in sides for example in side.examples})


def leave_out(sides: PersonaPair, hashes: Iterable[str]) -> PersonaPair:
    """Return both sides without the examples whose prompt is among ``hashes``.

    Rows of plain texts go together where the sides have equally many. A side may become empty.
    """
    seen = set(hashes)
    hits = [[_key(e)[:DIGITS] in seen for e in side.examples] for side in sides]
    plain = not any(example.prompt for side in sides for example in side.examples)
    if plain and len(hits[0]) == len(hits[1]):
        hits = [[ours or theirs for ours, theirs in zip(*hits, strict=True)]] * 2
    target, opposite = (
        side.with_examples(e for e, hit in zip(side.examples, drop, strict=True) if not hit)
        for side, drop in zip(sides, hits, strict=True)
    )
    return target, opposite


def responses(examples: Sequence[Example]) -> list[str]:
    """Return the answers."""
    return [example.response for example in examples]


def _part(key: str, tested: set[str], judged: set[str]) -> str:
    if key in tested:
        return "test"
    return "judge" if key in judged else "calibration"


def _keys(target: Persona, opposite: Persona) -> tuple[list[str], list[str]]:
    """Return the key of every example of both sides."""
    sides = target.examples, opposite.examples
    if len(target) == len(opposite) and not any(e.prompt for side in sides for e in side):
        rows = [_hash(sorted((a.response, b.response))) for a, b in zip(*sides, strict=True)]
        return rows, rows
    ours, theirs = ([_key(e) for e in side] for side in sides)
    return ours, theirs


def _key(example: Example) -> str:
    return _hash([f"{turn.role}\0{turn.content}" for turn in example.prompt] or [example.response])


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
