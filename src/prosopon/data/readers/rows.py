"""Splitting files into rows that know their line: JSON, JSON lines, CSV and paragraphs.

Nothing here knows what a row means. Every problem is a DataError of the form
``path:line: reason``.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from prosopon.errors import DataError

_BOM = b"\xef\xbb\xbf"
_JSON_SPACE = " \t\r\n"
_ITEM = re.compile(r"[^ \t\r\n,]")


class Row(NamedTuple):
    """A value and the line, counted from 1, where it starts."""

    line: int
    value: Any


def read_rows(path: Path, suffix: str) -> list[Row]:
    """Read the rows of a file as files of ``suffix`` are written.

    ``.csv`` gives a mapping a row, ``.json`` and ``.jsonl`` (a list, or a value a line, whichever
    the file holds) a JSON value, anything else the text of a paragraph.

    Raises:
        DataError: The file cannot be read, is not UTF-8, or is broken somewhere.
    """
    text = read_text(path)
    splitters = {".csv": _csv_rows, ".json": _json_rows, ".jsonl": _json_rows}
    return list(splitters.get(suffix.lower(), _paragraphs)(text, path))


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Raises:
        DataError: The file cannot be read or is not UTF-8; the message says on which line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    data = data.removeprefix(_BOM)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise DataError(f"{path}:{line}: not valid UTF-8 (byte 0x{byte:02x})") from None


def _json_rows(text: str, path: Path) -> Iterator[Row]:
    """Yield the items of a JSON list, or the values of JSON lines."""
    if text.lstrip(_JSON_SPACE).startswith("["):
        return _list_rows(text, path)
    return _line_rows(text, path)


def _line_rows(text: str, path: Path) -> Iterator[Row]:
    """Yield one value a line; only a line feed ends a line, since JSON strings may hold U+2028."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield Row(number, _load(line, f"{path}:{number}", path, lines=True))


def _list_rows(text: str, path: Path) -> Iterator[Row]:
    """Yield the items of one JSON list with the line where each starts."""
    _load(text, "", path, lines=False)  # what follows can rely on a valid list
    decoder = json.JSONDecoder()
    position = text.index("[") + 1
    line, counted = 1, 0
    while (found := _ITEM.search(text, position)) and found.group() != "]":
        line += text.count("\n", counted, found.start())
        counted = found.start()
        value, position = decoder.raw_decode(text, counted)
        yield Row(line, value)


def _load(text: str, where: str, path: Path, *, lines: bool) -> Any:
    """Parse JSON; ``where`` names the line in JSON lines, the error itself in a list."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = where or f"{path}:{error.lineno}"
        hint = "; one object a line, or one list, is expected" if lines else ""
        raise DataError(
            f"{where}: not valid JSON: {error.msg} (column {error.colno}){hint}"
        ) from None
    except (RecursionError, ValueError) as error:  # nesting, or an integer, beyond all measure
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError(f"{where or path}: JSON that cannot be used: {reason}") from None


def _csv_rows(text: str, path: Path) -> Iterator[Row]:
    """Yield a mapping of column to text for each record under the header."""
    # newline="" leaves line breaks inside quoted fields alone, as the csv module asks.
    records = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    start = 1
    try:
        for record in records:
            line, start = start, records.line_num + 1
            if not any(cell.strip() for cell in record):
                continue
            if header is None:
                header = _header(record, f"{path}:{line}")
            elif len(record) != len(header):
                counts = f"{len(record)} fields, the header {len(header)}"
                raise DataError(f"{path}:{line}: the row has {counts}")
            else:
                yield Row(line, dict(zip(header, record, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path}:{start}: not valid CSV: {error}") from None


def _header(record: list[str], where: str) -> list[str]:
    """Return the column names of a header; two of the same name are refused."""
    names = [name.strip() for name in record]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{where}: the header names the column {name!r} twice")
    return names


def _paragraphs(text: str, path: Path) -> Iterator[Row]:
    """Yield runs of lines that are not blank, their line breaks kept as line feeds."""
    del path  # nothing can go wrong in plain text
    paragraph: list[str] = []
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip():
            paragraph.append(line.rstrip())
        elif paragraph:
            yield Row(number - len(paragraph), "\n".join(paragraph))
            paragraph = []
