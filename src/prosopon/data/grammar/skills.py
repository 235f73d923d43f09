"""Neutral skills: small tasks with one right answer, which measure what a mask loses.

Every (fact, phrasing) pair belongs to one split. A held-out pair asks a fact in words in which
the model was never asked that fact; the fact itself and the phrasing were both seen.
"""

import hashlib
import random
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from prosopon.data.grammar.world import Split

NUMBERS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
]  # fmt: skip
_HELD_OUT_SHARE = 0.15


@dataclass(frozen=True)
class Skill:
    """One kind of task.

    Attributes:
        name: What it is called in tables.
        pairs: (question, answer) pairs by split.
    """

    name: str
    train: tuple[tuple[str, str], ...]
    held_out: tuple[tuple[str, str], ...]

    def sample(self, split: Split, rng: random.Random) -> tuple[str, str]:
        """Return a random (question, answer) pair of ``split``."""
        return rng.choice(self.train if split == "train" else self.held_out)


@cache
def load_skills() -> tuple[Skill, ...]:
    """Return all skills: colours, sums, capitals, opposites and counting."""
    raw = tomllib.loads((resources.files(__package__) / "skills.toml").read_text("utf-8"))
    facts = {
        "colours": [{"thing": k, "value": v} for k, v in raw["colours"]["facts"].items()],
        "capitals": [{"thing": k, "value": v} for k, v in raw["capitals"]["facts"].items()],
        "opposites": _both_ways(raw["opposites"]["facts"]),
        "sums": _sums(),
        "counting": _countings(),
    }
    return tuple(_skill(name, raw[name], facts[name]) for name in facts)


def _skill(name: str, raw: dict[str, list[str] | str], facts: list[dict[str, str]]) -> Skill:
    train: list[tuple[str, str]] = []
    held_out: list[tuple[str, str]] = []
    for fact in facts:
        reply = _sentence(str(raw["answer"]).format(**fact))
        for phrasing in raw["questions"]:
            prompt = _sentence(phrasing.format(**fact))
            (held_out if _is_held_out(prompt) else train).append((prompt, reply))
    return Skill(name, tuple(train), tuple(held_out))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _is_held_out(text: str) -> bool:
    # A hash rather than a generator: a new fact must not move the old ones between splits.
    return hashlib.sha256(text.encode()).digest()[0] < 256 * _HELD_OUT_SHARE


def _both_ways(pairs: dict[str, str]) -> list[dict[str, str]]:
    return [{"thing": a, "value": b} for x, y in pairs.items() for a, b in ((x, y), (y, x))]


def _sums() -> list[dict[str, str]]:
    return [
        {"a": NUMBERS[a], "b": NUMBERS[b], "value": NUMBERS[a + b]}
        for a in range(11)
        for b in range(11)
    ]


def _countings() -> list[dict[str, str]]:
    return [
        {"a": NUMBERS[a], "b": NUMBERS[b], "value": ", ".join(NUMBERS[a : b + 1])}
        for a in range(13)
        for b in range(a + 2, min(a + 7, 16))
    ]
