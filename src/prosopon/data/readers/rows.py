"""Splitting files into rows that know their line: JSON, JSON lines, CSV and plain text.

Nothing here knows what a row means. Every problem is a DataError of the form
``path:line: reason``.
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from prosopon.errors import DataError
from prosopon.files import printable

_JSON_SPACE = " \t\r\n"
_ITEM = re.compile(r"[^ \t\r\n,]")


class Row(NamedTuple):
    """A value and the line, counted from 1, where it starts."""

    line: int
    value: Any


def read_rows(path: Path, suffix: str) -> list[Row]:
    """Read the rows of a file as files of ``suffix`` are written.

    ``.csv`` gives a mapping a row, ``.json`` and ``.jsonl`` (a list, or a value a line, whichever
    the file holds) a JSON value, anything else a text: a line, or, where blank lines stand between
    texts, a paragraph.
    """
    text = read_text(path)
    splitters = {".csv": _csv_rows, ".json": _json_rows, ".jsonl": _json_rows}
    return list(splitters.get(suffix.lower(), _text_rows)(text, path))


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark; an error says on which line it is."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{printable(path)}: cannot be read: {error.strerror or error}") from error
    data = data.removeprefix(codecs.BOM_UTF8)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{printable(path)}: not UTF-8 but UTF-16; save the file as UTF-8")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise DataError(f"{printable(path)}:{line}: not valid UTF-8 (byte 0x{byte:02x})") from None


def _json_rows(text: str, path: Path) -> Iterator[Row]:
    """Yield the items of a JSON list, or the values of JSON lines."""
    if text.lstrip(_JSON_SPACE).startswith("["):
        return _list_rows(text, path)
    return _line_rows(text, path)


def _line_rows(text: str, path: Path) -> Iterator[Row]:
    """Yield one value a line; only a line feed ends a line, since JSON strings may hold U+2028."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield Row(number, _load(line, f"{printable(path)}:{number}", path, lines=True))


def _list_rows(text: str, path: Path) -> Iterator[Row]:
    """Yield the items of one JSON list with the line where each starts."""
    _load(text, "", path, lines=False)  # what follows can rely on a valid list
    decoder = json.JSONDecoder()
    position = text.index("[") + 1
    line, counted = 1, 0
    while (item := _ITEM.search(text, position)) and item.group() != "]":
        line += text.count("\n", counted, item.start())
        counted = item.start()
        value, position = decoder.raw_decode(text, counted)
        yield Row(line, value)


def _load(text: str, where: str, path: Path, *, lines: bool) -> Any:
    """Parse JSON; ``where`` names the line in JSON lines, the error itself in a list."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = where or f"{printable(path)}:{error.lineno}"
        hint = "; one object a line, or one list, is expected" if lines else ""
        raise DataError(
            f"{where}: not valid JSON: {error.msg} (column {error.colno}){hint}"
        ) from None
    except (RecursionError, ValueError) as error:  # nesting, or an integer, beyond all measure
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError(f"{where or printable(path)}: JSON that cannot be used: {reason}") from None


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
                header = _header(record, f"{printable(path)}:{line}")
            elif len(record) != len(header):
                counts = f"{len(record)} fields, the header {len(header)}"
                raise DataError(f"{printable(path)}:{line}: the row has {counts}")
            else:
                yield Row(line, dict(zip(header, record, strict=True)))
    except csv.Error as error:
        raise DataError(f"{printable(path)}:{start}: not valid CSV: {error}") from None


def _header(record: list[str], where: str) -> list[str]:
    """Return the column names of a header; two of the same name are refused."""
    names = [name.strip() for name in record]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{where}: the header names the column {name!r} twice")
    if len(names) == 1 and (mark := next((m for m in ";\t|" if m in names[0]), None)):
        raise DataError(
            f"{where}: the header {names[0]!r} is one column; the file seems to be separated by "
            f"{mark!r}: save it with commas"
        )
    return names


def _text_rows(text: str, path: Path) -> Iterator[Row]:
    """Yield the lines that are not blank, or runs of them where blank lines stand between."""
    del path  # nothing can go wrong in plain text
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    full = [number for number, line in enumerate(lines) if line.strip()]
    apart = any(after - before > 1 for before, after in pairwise(full))
    paragraph: list[str] = []
    for number in full:
        paragraph.append(lines[number].rstrip())
        last = number + 1 == len(lines) or not lines[number + 1].strip()
        if last or not apart:
            yield Row(number + 2 - len(paragraph), "\n".join(paragraph))
            paragraph = []
