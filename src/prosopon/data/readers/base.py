"""What a reader is, the registry of readers, and the helpers that they share.

A reader knows one row format. Files are split into rows by `prosopon.data.readers.rows`, so a
new format needs only a function that recognises a row and one that turns it into examples:

    READERS.add("mine", Reader("mine", "what a row holds", (".jsonl",), sniff, parse))

The helpers raise a DataError that says where a row stands and what is wrong with it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prosopon.data.examples import Example, check_text, messages_of
from prosopon.errors import DataError
from prosopon.registry import Registry

Parse = Callable[[Any, str], list[Example]]


@dataclass(frozen=True)
class Reader:
    """One row format.

    Args:
        name: What ``--format`` calls it.
        description: What a row holds, in one line.
        suffixes: Of the files that hold such rows; the first one decides how a file of another
            suffix is split into rows when this format is asked for by name.
        sniff: Tells from a file's first row whether the file has this format. It looks only for
            the field that gives the format away, so that `parse` can say what else is missing.
        parse: Turns a row, and where it stands (``"path:line"``), into examples. Raises DataError
            that starts with where the row stands, and `BlankQuestionError` for a row to leave out.
        role: Says whose a row is, for formats whose files hold many roles; None for the others.
            Raises as `parse` does.
    """

    name: str
    description: str
    suffixes: tuple[str, ...]
    sniff: Callable[[Any], bool]
    parse: Parse
    role: Callable[[Any, str], str] | None = None


READERS: Registry[Reader] = Registry("format")
"""The formats by name."""


def reader(
    name: str,
    description: str,
    suffixes: tuple[str, ...],
    sniff: Callable[[Any], bool],
    role: Callable[[Any, str], str] | None = None,
) -> Callable[[Parse], Parse]:
    """Return a decorator that registers the function which parses a format's rows."""

    def add(parse: Parse) -> Parse:
        READERS.add(name, Reader(name, description, suffixes, sniff, parse, role))
        return parse

    return add


class BlankQuestionError(DataError):
    """A row whose question is blank: files of real data have some, which are left out."""


def has_field(name: str) -> Callable[[Any], bool]:
    """Return a `Reader.sniff` that accepts an object with the field ``name``."""
    return lambda row: isinstance(row, Mapping) and name in row


def field(row: Any, name: str, where: str) -> str:
    """Return the text of a field that must be there and must not be blank, as it is written."""
    text = optional_field(row, name, where)
    if text is None:
        raise DataError(f"{where}: the field {name!r} is missing")
    if not text.strip():
        raise DataError(f"{where}: the field {name!r} is empty")
    return text


def question(row: Any, name: str, where: str) -> str:
    """Return the text of a field that asks, stripped; a blank one is a `BlankQuestionError`."""
    text = optional_field(row, name, where)
    if text is not None and not text.strip():
        raise BlankQuestionError(f"{where}: the field {name!r} is empty")
    return field(row, name, where).strip()


def optional_field(row: Any, name: str, where: str) -> str | None:
    """Return the text of a field, or None where it is missing or null."""
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: the row is not an object with named fields")
    value = row.get(name)
    if value is None:
        return None
    try:
        return check_text(value, f"the field {name!r}")
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def build(
    turns: Iterable[tuple[str, str]], where: str, *, alternative: str | None = None
) -> list[Example]:
    """Return one example made of pairs (role, content), in a list as `Reader.parse` does.

    Where they make none, or the alternative is the answer itself, the error starts with ``where``.
    """
    try:
        example = Example(messages_of(turns), alternative, where)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    if alternative is not None and alternative.strip() == example.response.strip():
        raise DataError(f"{where}: both answers are {alternative.strip()!r}")
    return [example]
