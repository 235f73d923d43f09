"""The world of the grammar: eight axes with two poles each, read from TOML files.

Every template and every slot value belongs to the split ``train`` or ``held_out``. The embedded
model is trained on, and bundled personas are calibrated with, the first; the second serves
evaluation only.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from prosopon.errors import DataError, UnknownNameError

Split = Literal["train", "held_out"]
SPLITS: tuple[Split, Split] = ("train", "held_out")
SLOT = re.compile(r"\{([a-z_]+)\}")

# The order in which tables and figures show the axes.
AXES = ("energy", "perception", "decision", "lifestyle", "risk", "power", "wealth", "style")


@dataclass(frozen=True)
class Phrases:
    """Templates and the values of their slots, by split."""

    templates: Mapping[Split, tuple[str, ...]]  # templates with ``{slot}`` places, by split
    slots: Mapping[str, Mapping[Split, tuple[str, ...]]]  # values by slot name and split


@dataclass(frozen=True)
class Pole:
    """One end of an axis: a bundled persona."""

    name: str  # the persona's name
    axis: str  # the axis that it belongs to
    description: str  # one line for people
    names: tuple[str, ...]  # noun phrases that complete "You are ..."
    traits: tuple[str, ...]  # adjectives that complete "You are a very ... assistant."
    answers: Phrases  # answer templates and slots


@dataclass(frozen=True)
class Axis:
    """A pair of opposite poles and the questions that tell them apart."""

    name: str
    summary: str
    questions: Phrases
    poles: tuple[Pole, Pole]


@dataclass(frozen=True)
class World:
    """All axes, and all poles by name."""

    axes: Mapping[str, Axis]
    poles: Mapping[str, Pole]

    def pole(self, name: str) -> Pole:
        """Return a pole by name.

        Raises:
            UnknownNameError: There is none; the message lists them.
        """
        if name not in self.poles:
            raise UnknownNameError("persona", name, self.poles)
        return self.poles[name]

    def opposite(self, name: str) -> Pole:
        """Return the other pole of a pole's axis."""
        first, second = self.axes[self.pole(name).axis].poles
        return second if first.name == name else first


@cache
def load_world() -> World:
    """Read the axis files that ship with the package (once a process)."""
    folder = resources.files(__package__) / "axes"
    axes = {name: _axis((folder / f"{name}.toml").read_text("utf-8"), name) for name in AXES}
    poles = {pole.name: pole for axis in axes.values() for pole in axis.poles}
    return World(axes, poles)


def _axis(text: str, name: str) -> Axis:
    raw = tomllib.loads(text)
    poles = [_pole(pole, raw["poles"][pole], name) for pole in raw["poles"]]
    if len(poles) != 2:
        raise DataError(f"axis {name!r} has {len(poles)} poles, not 2")
    return Axis(
        name, raw["summary"], _phrases(raw["questions"], raw["slots"]), (poles[0], poles[1])
    )


def _pole(name: str, raw: dict[str, Any], axis: str) -> Pole:
    names, traits = tuple(raw["names"]), tuple(raw["traits"])
    answers = _phrases(raw["answers"], raw["slots"])
    return Pole(name, axis, raw["description"], names, traits, answers)


def _phrases(templates: dict[str, list[str]], slots: dict[str, dict[str, list[str]]]) -> Phrases:
    return Phrases(
        templates={split: tuple(templates[split]) for split in SPLITS},
        slots={name: {s: tuple(values[s]) for s in SPLITS} for name, values in slots.items()},
    )
