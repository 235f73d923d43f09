"""RoleAgentBench: roles of scripts (Liu et al. 2024, RoleAgent).

Three of its files hold questions to a role: ``general_response.json`` (free answers),
``reaction.json`` (what the role says next, among options) and ``self_knowledge.json`` (statements
about the role, true or false).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prosopon.data.examples import Example
from prosopon.data.readers.base import READERS, Reader, build, field, has_field, optional_field
from prosopon.errors import DataError

TRUTH = {True: "True", False: "False"}


def parse(row: Any, where: str) -> list[Example]:
    """Read a row of any of the three files, recognised by its fields.

    A reaction has several wrong options and an example one alternative: the wrong option that
    follows the right one, the first after the last, so that no place is always right.

    Raises:
        DataError: A field is missing, blank, or none of the three kinds fits.
    """
    role(row, where)
    if "multi_choices" in row:
        return _reaction(row, where)
    if "instruction" in row:
        return _self_knowledge(row, where)
    if "question" in row and "answer" in row:
        answer = field(row, "answer", where).strip()
        return build([("user", _question(row, where)), ("assistant", answer)], where)
    raise DataError(
        f"{where}: neither a general response ('question', 'answer'), nor a reaction "
        "('multi_choices', 'gt_answer'), nor self-knowledge ('instruction', 'answer')"
    )


def role(row: Any, where: str) -> str:
    """Return who is asked.

    Raises:
        DataError: The field ``target_role`` is missing or blank.
    """
    return field(row, "target_role", where).strip()


def _question(row: Mapping[str, Any], where: str) -> str:
    """Return the question with who asks it, where that is told."""
    question = field(row, "question", where).strip()
    source = (optional_field(row, "source_role", where) or "").strip()
    return f"{source}: {question}" if source else question


def _reaction(row: Mapping[str, Any], where: str) -> list[Example]:
    options, right = _options(row["multi_choices"], where), field(row, "gt_answer", where).strip()
    if right not in options:
        raise DataError(f"{where}: 'gt_answer' is {right!r}; the options are {', '.join(options)}")
    letters = list(options)
    other = options[letters[(letters.index(right) + 1) % len(letters)]]
    turns = [("user", _question(row, where)), ("assistant", options[right])]
    return build(turns, where, alternative=other)


def _options(value: Any, where: str) -> dict[str, str]:
    """Return options by letter; they come as an object, or as a list for A, B, C, ..."""
    if isinstance(value, list):
        value = {chr(ord("A") + place): option for place, option in enumerate(value)}
    if not isinstance(value, Mapping) or len(value) < 2:
        raise DataError(f"{where}: the field 'multi_choices' does not hold two options or more")
    return {str(letter).strip(): field(value, letter, where).strip() for letter in value}


def _self_knowledge(row: Mapping[str, Any], where: str) -> list[Example]:
    statement, answer = field(row, "instruction", where).strip(), row.get("answer")
    if isinstance(answer, str):
        answer = {"true": True, "false": False}.get(answer.strip().casefold())
    if not isinstance(answer, bool):
        raise DataError(f"{where}: the field 'answer' is neither true nor false")
    turns = [("user", statement), ("assistant", TRUTH[answer])]
    return build(turns, where, alternative=TRUTH[not answer])


READERS.add(
    "role-agent-bench",
    Reader(
        "role-agent-bench",
        (
            '{"target_role"} with {"question", "answer"}, {"multi_choices", "gt_answer"} or '
            '{"instruction", "answer"}; file#role names one role'
        ),
        (".json", ".jsonl"),
        has_field("target_role"),
        parse,
        role,
    ),
)
