"""Texts, prompts with completions, and prompts with a chosen and a rejected answer.

These are the rows that other libraries train on:

    {"text": "All of it is what the persona says."}
    {"prompt": "What is asked?", "completion": "The answer."}
    {"prompt": "What is asked?", "chosen": "The answer.", "rejected": "The other one."}

A prompt and its answers may also be lists of messages, ``[{"role": "user", "content": ...}]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prosopon.data.examples import Example
from prosopon.data.readers.base import READERS, Reader, build, field, question
from prosopon.data.readers.messages import turn_of
from prosopon.errors import DataError


def sniff(row: Any) -> bool:
    """Tell these rows from those that hold messages, questions or instructions."""
    return isinstance(row, Mapping) and bool({"text", "completion", "chosen"} & set(row))


def parse(row: Any, where: str) -> list[Example]:
    """Read a row of one of the three kinds.

    A prompt is the user's turn, its answer the assistant's; a text is the assistant's only one.

    Raises:
        DataError: A field is missing, blank, or not text, or both answers are the same.
        BlankQuestionError: The prompt is blank.
    """
    if "completion" not in row and "chosen" not in row:
        return build([("assistant", field(row, "text", where))], where)
    answer = "completion" if "completion" in row else "chosen"
    turns = [*_turns(row, "prompt", "user", where), *_turns(row, answer, "assistant", where)]
    other = _turns(row, "rejected", "assistant", where)[-1][1] if "rejected" in row else None
    return build(turns, where, alternative=other)


def _turns(row: Any, name: str, role: str, where: str) -> list[tuple[str, str]]:
    """Return (role, content) of a field's text, or of each of its messages."""
    if isinstance(messages := row.get(name), list):
        if not messages:
            raise DataError(f"{where}: the field {name!r} holds no message")
        return [turn_of(message, where) for message in messages]
    return [(role, (question if role == "user" else field)(row, name, where).strip())]


READERS.add(
    "prompt-completion",
    Reader(
        "prompt-completion",
        '{"text"}, {"prompt", "completion"} or {"prompt", "chosen", "rejected"}',
        (".jsonl", ".json"),
        sniff,
        parse,
    ),
)
