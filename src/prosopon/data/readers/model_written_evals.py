"""Anthropic's model-written evaluations: a question, and the answers for and against a trait."""

from __future__ import annotations

from typing import Any

from prosopon.data.examples import Example
from prosopon.data.readers.base import READERS, Reader, build, field, has_field, question

MATCHING, NOT_MATCHING = "answer_matching_behavior", "answer_not_matching_behavior"


def parse(row: Any, where: str) -> list[Example]:
    """Read a Yes/No question or one with lettered choices; answers are stripped.

    The files write answers with a leading space (" Yes", " (A)"), which belongs to the place where
    they are pasted and not to the answer. Other fields, such as ``statement``, are not needed.

    Raises:
        DataError: A field is missing or blank, or both answers are the same.
    """
    prompt = question(row, "question", where)
    answer = field(row, MATCHING, where).strip()
    alternative = field(row, NOT_MATCHING, where).strip()
    return build([("user", prompt), ("assistant", answer)], where, alternative=alternative)


READERS.add(
    "model-written-evals",
    Reader(
        "model-written-evals",
        f'{{"question", "{MATCHING}", "{NOT_MATCHING}"}}',
        (".jsonl", ".json"),
        has_field(MATCHING),
        parse,
    ),
)
