"""Questionnaires: statements to agree or disagree with, in scales of two poles."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from prosopon.data.tables import find_table, read_table, table_names, table_rows, texts
from prosopon.errors import DataError

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Item:
    """A statement."""

    text: str  # what is agreed with or not
    key: int  # 1 where agreement speaks for the scale's first pole, -1 for the second


@dataclass(frozen=True)
class Scale:
    """Items that measure one thing."""

    name: str  # of the axis or trait
    poles: tuple[str, str]  # names of both ends; the first is the positive one
    letters: tuple[str, str]  # short names of both ends
    items: tuple[Item, ...]  # positive and negative ones in turn, equally many of both


@dataclass(frozen=True)
class Questionnaire:
    """Scales that are asked together."""

    name: str  # of the questionnaire
    summary: str  # one line
    scales: tuple[Scale, ...]  # the scales


def names() -> list[str]:
    """Return the names of the bundled questionnaires."""
    return table_names(FOLDER)


@cache
def load_questionnaire(source: str | Path) -> Questionnaire:
    """Return a questionnaire.

    Args:
        source: A bundled name, or a TOML file: ``name``, ``summary``, and tables ``[[scale]]``
            with ``name``, ``poles`` and ``letters`` (two each), ``positive`` and ``negative``
            (equally many statements, at least two each).

    Raises:
        UnknownNameError: No bundled questionnaire and no file is called so.
        DataError: The file cannot be used; names file and scale.
    """
    path = find_table("questionnaire", FOLDER, source)
    content = read_table(path)
    scales = tuple(_scale(row, where) for row, where in table_rows(content, "scale", path))
    scale_names = [scale.name for scale in scales]
    if len(set(scale_names)) < len(scale_names):
        raise DataError(
            f"{path}: two scales have the same name; there are {', '.join(scale_names)}"
        )
    return Questionnaire(
        str(content.get("name", path.stem)), str(content.get("summary", "")), scales
    )


def _scale(row: dict[str, Any], where: str) -> Scale:
    if not isinstance(row.get("name"), str) or not row["name"]:
        raise DataError(f"{where}: has no name")
    where = f"{where} ({row['name']})"
    poles, letters, positive, negative = (
        texts(row.get(field), f"{where}: {field}", least=0)
        for field in ("poles", "letters", "positive", "negative")
    )
    for field, value in (("poles", poles), ("letters", letters)):
        if len(set(value)) != 2 or len(value) != 2:
            raise DataError(f"{where}: {field} must be two different texts")
    if len(positive) != len(negative) or len(positive) < 2:
        raise DataError(
            f"{where}: {len(positive)} positive and {len(negative)} negative items; it needs "
            "equally many, at least two of each"
        )
    both = zip(positive, negative, strict=True)
    items = tuple(Item(text, key) for pair in both for text, key in zip(pair, (1, -1), strict=True))
    if len({item.text for item in items}) < len(items):
        raise DataError(f"{where}: the same statement stands there twice")
    return Scale(row["name"], (poles[0], poles[1]), (letters[0], letters[1]), items)
