"""Plain text: every line is something that the persona says, with no question before it.

Where blank lines stand between texts, these are paragraphs of any number of lines.
"""

from __future__ import annotations

from typing import Any

from prosopon.data.examples import Example
from prosopon.data.readers.base import READERS, Reader, build
from prosopon.errors import DataError


def parse(row: Any, where: str) -> list[Example]:
    """Read one text as the assistant's only message.

    Raises:
        DataError: The row is not text, or blank.
    """
    if not isinstance(row, str):
        raise DataError(f"{where}: the row is not text")
    return build([("assistant", row)], where)


READERS.add(
    "text",
    Reader(
        "text",
        "plain text, one text a line, or paragraphs with an empty line between two",
        (".txt", ".md"),
        lambda row: isinstance(row, str),
        parse,
    ),
)
