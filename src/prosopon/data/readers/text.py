"""Plain text: every paragraph is something that the persona says, with no question before it."""

from __future__ import annotations

from typing import Any

from prosopon.data.examples import Example
from prosopon.data.readers.base import READERS, Reader, build
from prosopon.errors import DataError


def parse(row: Any, where: str) -> list[Example]:
    """Read one paragraph as the assistant's only message.

    Raises:
        DataError: The row is not text, or blank.
    """
    if not isinstance(row, str):
        raise DataError(f"{where}: the row is not text")
    return build([("assistant", row)], where)


READERS.add(
    "text",
    Reader(
        name="text",
        description="paragraphs of plain text, an empty line between two",
        suffixes=(".txt", ".md"),
        sniff=lambda row: isinstance(row, str),
        parse=parse,
    ),
)
