"""RoleBench: roles that answer instructions (Wang et al. 2023, RoleLLM)."""

from __future__ import annotations

from typing import Any

from prosopon.data.examples import Example
from prosopon.data.readers.base import READERS, Reader, build, field, has_field, question
from prosopon.errors import DataError


def parse(row: Any, where: str) -> list[Example]:
    """Read ``{"role", "question", "generated": [answers]}``; the first answer is the example.

    Some rows give several answers of one model to one question; more than one would let such a
    question weigh more than others. Other fields (``type``, ``score``) are not needed.

    Raises:
        DataError: A field is missing or blank, or ``generated`` holds no text.
    """
    prompt = question(row, "question", where)
    answers = row.get("generated")
    if not isinstance(answers, list) or not answers:
        raise DataError(f"{where}: the field 'generated' is not a list with at least one answer")
    answer = field({"generated": answers[0]}, "generated", where).strip()
    return build([("user", prompt), ("assistant", answer)], where)


def role(row: Any, where: str) -> str:
    """Return whose a row is.

    Raises:
        DataError: The field ``role`` is missing or blank.
    """
    return field(row, "role", where).strip()


READERS.add(
    "rolebench",
    Reader(
        "rolebench",
        '{"role", "question", "generated": [answers]}; file#role names one role',
        (".jsonl", ".json"),
        has_field("generated"),
        parse,
        role,
    ),
)
