"""The project's own format: one conversation a line, as chat messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prosopon.data.examples import Example
from prosopon.data.readers.base import READERS, Reader, build, field, has_field, optional_field
from prosopon.errors import DataError


def parse(row: Any, where: str) -> list[Example]:
    """Read ``{"messages": [{"role", "content"}, ...], "alternative": optional text}``.

    Raises:
        DataError: A turn is malformed, or the last one is not the assistant's.
    """
    alternative = optional_field(row, "alternative", where)
    turns = row.get("messages")
    if not isinstance(turns, list):
        raise DataError(f"{where}: the field 'messages' is not a list")
    return build([turn_of(turn, where) for turn in turns], where, alternative=alternative)


def turn_of(turn: Any, where: str) -> tuple[str, str]:
    """Return (role, content) of one message.

    Raises:
        DataError: It is malformed.
    """
    if not isinstance(turn, Mapping):
        raise DataError(f"{where}: a message is not an object with 'role' and 'content'")
    content = optional_field(turn, "content", where)
    if content is None:
        raise DataError(f"{where}: a message has no 'content'")
    return field(turn, "role", where), content


READERS.add(
    "jsonl",
    Reader(
        "jsonl",
        '{"messages": [{"role", "content"}, ...], "alternative": optional}',
        (".jsonl", ".json"),
        has_field("messages"),
        parse,
    ),
)
