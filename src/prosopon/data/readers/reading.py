"""From a file, or from rows that came from elsewhere, to examples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from prosopon.data.examples import Example
from prosopon.data.readers.base import READERS, BlankQuestionError, Reader
from prosopon.data.readers.rows import Row, read_rows
from prosopon.errors import DataError, UnknownNameError
from prosopon.files import printable


class ReadResult(NamedTuple):
    """What a file or a list of rows holds."""

    examples: list[Example]  # in the order of the rows
    notes: list[str]  # what was read, in lines for people: how many of what, and rows left out


def read_examples(
    path: str | Path, format: str | None = None, role: str | None = None
) -> list[Example]:
    """Read the examples of a file; see :func:`read_file`."""
    return read_file(path, format, role).examples


def read_file(path: str | Path, format: str | None = None, role: str | None = None) -> ReadResult:
    """Read a file; rows with a blank question are left out and counted.

    Args:
        path: The file, UTF-8.
        format: A name in `READERS`; None recognises the format by suffix and first row.
        role: Whose rows to read, where the format knows roles; may be left out where the file
            holds one role only.

    Returns:
        The examples in the order of the file; each `Example.source` is ``"name:line"``.

    Raises:
        DataError: The file is missing, empty, of no known format, a row is malformed, every
            question is blank, or the role is unknown or not given; the message lists the roles.
    """
    path = Path(path)
    name, reader = printable(path), get_reader(format) if format is not None else None
    if path.is_dir():
        raise DataError(f"{name}: is a folder; name a file in it, or write hf:{name}")
    if not path.exists():
        raise DataError(f"{name}: no such file")
    suffix = _row_suffix(path, reader)
    rows = read_rows(path, suffix)
    if not rows:
        raise DataError(f"{name}: the file is empty: it holds no rows")
    if reader is None:
        readers = [reader for _, reader in READERS.items() if suffix in reader.suffixes]
        reader = recognise(rows[0].value, readers, f"{name}:{rows[0].line}")
    examples, notes = _parse(rows, reader, role, name, lambda line: f"{name}:{line}")
    short = printable(path.name)
    sources = (f"{short}:{example.source.rpartition(':')[2]}" for example in examples)
    named = [replace(e, source=source) for e, source in zip(examples, sources, strict=True)]
    return ReadResult(named, [f"{short}: {note}" for note in notes])


def parse_rows(
    rows: Iterable[Row],
    where: Callable[[int], str],
    format: str | None = None,
    role: str | None = None,
) -> ReadResult:
    """Turn rows that do not come from a file into examples; ``where`` says where a row stands.

    ``format``, ``role`` and errors are as for :func:`read_file`.
    """
    reader = get_reader(format) if format is not None else None
    items = list(rows)
    if not items:
        return ReadResult([], [])
    first = where(items[0].line)
    if reader is None:
        reader = recognise(items[0].value, [reader for _, reader in READERS.items()], first)
    return _parse(items, reader, role, first, where)


def _parse(
    rows: Sequence[Row], reader: Reader, role: str | None, source: str, where: Callable[[int], str]
) -> ReadResult:
    """Parse the rows of a role; rows whose question is blank are counted instead."""
    rows = _of_role(rows, reader, role, source, where)
    examples: list[Example] = []
    blank: list[int] = []
    for row in rows:
        try:
            examples += reader.parse(row.value, where(row.line))
        except BlankQuestionError:
            blank.append(row.line)
    if not examples:
        raise DataError(f"{source}: no row has a question")
    notes = [_describe(rows, examples, reader)]
    if blank:
        lines = ", ".join(map(str, blank[:5])) + (", ..." if len(blank) > 5 else "")
        count = "1 row" if len(blank) == 1 else f"{len(blank)} rows"
        notes.append(f"{count} without a question left out (line {lines})")
    if len(examples) == 1:
        notes.append("one example only, which shows no persona")
    return ReadResult(examples, notes)


def _describe(rows: Sequence[Row], examples: Sequence[Example], reader: Reader) -> str:
    """Say how many examples of which format there are."""
    if reader.name != "text" or len(rows) < 2:
        return f"{len(examples)} example{'s'[: len(examples) > 1]}, format {reader.name}"
    lines = all(after.line - before.line == 1 for before, after in pairwise(rows))
    return f"{len(examples)} texts, one {'a line' if lines else 'a paragraph'}"


def get_reader(format: str) -> Reader:
    """Return the reader of a format; where there is none, a DataError lists the formats."""
    try:
        return READERS.get(format)
    except UnknownNameError as error:
        raise DataError(str(error)) from None


def recognise(first: Any, readers: Iterable[Reader], where: str) -> Reader:
    """Return the first of ``readers`` that accepts the first row; the error lists all formats."""
    for reader in readers:
        if reader.sniff(first):
            return reader
    fields = f" with the fields {', '.join(map(str, first))}" if isinstance(first, Mapping) else ""
    raise DataError(f"{where}: no format fits a first row{fields}. {_formats()}")


def _of_role(
    rows: Sequence[Row], reader: Reader, role: str | None, source: str, where: Callable[[int], str]
) -> list[Row]:
    """Return the rows of a role; all where the format knows none, or the rows are of one."""
    if reader.role is None:
        if role is not None:
            raise DataError(
                f"{source}: the format {reader.name!r} knows no roles, such as {role!r}"
            )
        return list(rows)
    owners = [reader.role(row.value, where(row.line)) for row in rows]
    choices = ", ".join(sorted(set(owners)))
    if role is None and len(set(owners)) > 1:
        raise DataError(
            f"{source}: holds several roles; name one of them, as in FILE#{owners[0]}. "
            f"Roles: {choices}"
        )
    if role is not None and role not in owners:
        raise DataError(f"{source}: no row is of the role {role!r}. Roles: {choices}")
    return [row for row, owner in zip(rows, owners, strict=True) if role in (None, owner)]


def _row_suffix(path: Path, reader: Reader | None) -> str:
    """Return the suffix that decides how the file is split into rows."""
    suffix = path.suffix.lower()
    if reader is not None:
        return suffix if suffix in reader.suffixes else reader.suffixes[0]
    if not any(suffix in reader.suffixes for _, reader in READERS.items()):
        named = f"the suffix {path.suffix!r}" if suffix else "a name without suffix"
        raise DataError(f"{printable(path)}: no format has {named}. {_formats()}")
    return suffix


def _formats() -> str:
    """List every format: name, suffixes and what a row holds."""
    formats = (
        f"{name} ({', '.join(reader.suffixes)}: {reader.description})"
        for name, reader in READERS.items()
    )
    return f"Formats: {'; '.join(formats)}"
