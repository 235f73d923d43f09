"""A library of personas in natural English, for any chat model: 120 questions an axis.

Both poles answer the same everyday questions, or a character and a plain helper do, in plain
sentences such as a chat model writes itself: a mask only brings forth what is there, and idioms
made small models write nonsense (docs/lab/real-masks.md, run 6). All of it is our own wording and
in the public domain (CC0-1.0). The sixteen personas of the embedded model, which speak its grammar,
are those of :mod:`prosopon.data.bundled`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prosopon.data.examples import Example, Message, Persona
from prosopon.data.tables import read_table
from prosopon.errors import UnknownNameError

FOLDER = Path(__file__).parent
PREFIX = "library:"
"""Before the name of a persona of the library where a persona's source is asked for."""
PLAIN = "plain"
"""Who answers beside a character; no persona of its own."""


@dataclass(frozen=True)
class LibraryPole:
    """One end of an axis."""

    name: str  # the persona's
    axis: str  # the axis's
    opposite: str  # the persona at the other end
    description: str  # one line on who it is
    prompt: str  # a system line that asks a model to be so


@cache
def poles() -> dict[str, LibraryPole]:
    """Return the poles by the personas' names, axis by axis."""
    content, by_name = read_table(FOLDER / "axes.toml"), dict[str, LibraryPole]()
    for axis, table in content.items():
        one, other = table["poles"]
        for name, opposite in ((one, other), (other, one)):
            if name != PLAIN:
                by_name[name] = LibraryPole(name, axis, opposite, **table["poles"][name])
    return by_name


def names() -> list[str]:
    """Return the names of the personas, axis by axis."""
    return list(poles())


def pole(name: str) -> LibraryPole:
    """Return a persona's pole.

    Raises:
        UnknownNameError: No such persona; the message lists them.
    """
    if name not in poles():
        raise UnknownNameError("persona of the library", name, names())
    return poles()[name]


def find(source: object) -> LibraryPole | None:
    """Return the pole that a persona's source names, or None where it is none of the library's."""
    if not isinstance(source, str) or not source.startswith(PREFIX):
        return None
    return pole(source.removeprefix(PREFIX))


def natural(source: str) -> str:
    """Return where a persona's natural English is: the library's source, if the name is there.

    A bare name such as ``bold`` means sentences of the embedded model's grammar, which are a
    foreign language to any other model.
    """
    return PREFIX + source if source in poles() else source


@cache
def load(name: str) -> Persona:
    """Return a persona of the library: its answer and the opposite's to each question.

    Raises:
        UnknownNameError: No such persona; the message lists them.
    """
    own = pole(name)
    rows = (FOLDER / f"{own.axis}.jsonl").read_text("utf-8").splitlines()
    examples = [
        Example(
            (Message("user", row["question"]), Message("assistant", row[name])),
            row[own.opposite], f"{PREFIX}{name} {number}",
        )
        for number, row in enumerate(map(json.loads, rows), 1)
    ]  # fmt: skip
    return Persona(name, tuple(examples), own.description)
