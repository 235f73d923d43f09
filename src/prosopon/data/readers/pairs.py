"""Questions with a matching and a not matching answer, as CSV or as JSON."""

from __future__ import annotations

from typing import Any

from prosopon.data.examples import Example
from prosopon.data.readers.base import READERS, Reader, build, field, has_field, question


def parse(row: Any, where: str) -> list[Example]:
    """Read a row with question, matching and not_matching; other columns are ignored.

    A file without the column not_matching gives examples without an alternative.

    Raises:
        DataError: A field is missing or blank, or both answers are the same.
        BlankQuestionError: The question is blank.
    """
    prompt = question(row, "question", where)
    answer = field(row, "matching", where).strip()
    other = field(row, "not_matching", where).strip() if "not_matching" in row else None
    return build([("user", prompt), ("assistant", answer)], where, alternative=other)


READERS.add(
    "csv",
    Reader(
        "csv",
        "a header question,matching,not_matching, or objects with these fields",
        (".csv", ".jsonl", ".json"),
        has_field("matching"),
        parse,
    ),
)
