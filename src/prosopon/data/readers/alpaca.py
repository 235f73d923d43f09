"""Alpaca-style instructions, as Machine Mindset's personas are published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prosopon.data.examples import Example
from prosopon.data.readers.base import READERS, Reader, build, field, optional_field, question


def sniff(row: Any) -> bool:
    """Tell an instruction from a statement about a role, which RoleAgentBench calls so too."""
    return isinstance(row, Mapping) and "instruction" in row and "target_role" not in row


def parse(row: Any, where: str) -> list[Example]:
    """Read ``{"instruction", "input", "output"}``.

    An input that is not blank follows the instruction after an empty line; many files write
    ``" "`` where there is none.

    Raises:
        DataError: Instruction or output are missing or blank, or a field is not text.
    """
    task = question(row, "instruction", where)
    extra = (optional_field(row, "input", where) or "").strip()
    prompt = f"{task}\n\n{extra}" if extra else task
    return build([("user", prompt), ("assistant", field(row, "output", where).strip())], where)


READERS.add(
    "alpaca",
    Reader("alpaca", '{"instruction", "input", "output"}', (".json", ".jsonl"), sniff, parse),
)
