"""Questionnaires: statements to agree with, some of them reverse-keyed."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from prosopon.errors import DataError


@dataclass(frozen=True)
class Item:
    """A statement.

    Attributes:
        text: What one agrees with or not.
        keyed: 1 where agreement speaks for the axis's high pole, -1 where for its low pole.
    """

    text: str
    keyed: int


@dataclass(frozen=True)
class Scale:
    """An axis or trait.

    Attributes:
        name: Its name.
        high: Name or letter of the high pole.
        low: Of the low pole.
        items: Its statements.
    """

    name: str
    high: str
    low: str
    items: tuple[Item, ...]


@cache
def load_questionnaire(name: str | Path) -> tuple[Scale, ...]:
    """Return the scales of a bundled questionnaire (``mbti``, ``big-five``) or of a TOML file.

    Raises:
        DataError: The file cannot be read, or a scale is not so; names it.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = Path(__file__).with_name(f"{name}.toml")
    try:
        axes = tomllib.loads(path.read_text("utf-8")).get("axis")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: {error}") from None
    if not isinstance(axes, list) or not axes:
        raise DataError(f"{path}: holds no [[axis]]")
    return tuple(_scale(axis, f"{path}: axis {number}") for number, axis in enumerate(axes, 1))


def _scale(axis: dict[str, Any], where: str) -> Scale:
    items = axis.get("items")
    if not isinstance(items, list) or len(items) < 2:
        raise DataError(f"{where}: items must be a list of at least two")
    try:
        found = tuple(Item(item["text"], item["keyed"]) for item in items)
        scale = Scale(axis["name"], axis["high"], axis["low"], found)
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: {error} is missing or of another kind") from None
    bad = [item for item in found if item.keyed not in (1, -1)]
    if bad:
        raise DataError(f"{where}: keyed of {bad[0].text!r} is {bad[0].keyed!r}, not 1 or -1")
    return scale
