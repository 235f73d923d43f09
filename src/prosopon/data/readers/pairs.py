"""Comma-separated questions with a matching and a not matching answer."""

from __future__ import annotations

from typing import Any

from prosopon.data.examples import Example
from prosopon.data.readers.base import READERS, Reader, build, field, has_field


def parse(row: Any, where: str) -> list[Example]:
    """Read a row under the header ``question,matching,not_matching``; other columns are ignored.

    Raises:
        DataError: A column is missing or blank, or both answers are the same.
    """
    question = field(row, "question", where).strip()
    answer = field(row, "matching", where).strip()
    alternative = field(row, "not_matching", where).strip()
    return build([("user", question), ("assistant", answer)], where, alternative=alternative)


READERS.add(
    "csv",
    Reader(
        name="csv",
        description="a header question,matching,not_matching",
        suffixes=(".csv",),
        sniff=has_field("matching"),
        parse=parse,
    ),
)
