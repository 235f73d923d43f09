"""The formats whose files hold rows of many roles: RoleBench and RoleAgentBench."""

from collections.abc import Mapping
from typing import Any

from prosopon.data.examples import Example
from prosopon.data.readers.base import build, field, has_field, optional_field, question, reader
from prosopon.errors import DataError

TRUTH = {True: "True", False: "False"}
_ROLEBENCH = '{"role", "question", "generated": [answers]}; file#role names one role'
_AGENTS = (
    '{"target_role"} with {"question", "answer"}, {"multi_choices", "gt_answer"} or '
    '{"instruction", "answer"}; file#role names one role'
)


def _target_role(row: Any, where: str) -> str:
    return field(row, "target_role", where).strip()


@reader("rolebench", _ROLEBENCH, (".jsonl", ".json"), has_field("generated"),
        lambda row, where: field(row, "role", where).strip())  # fmt: skip
def _rolebench(row: Any, where: str) -> list[Example]:
    """Read a question of RoleBench (Wang et al. 2023, RoleLLM); the first answer is the example.

    Some rows give several answers of one model to one question; more than one would let such a
    question weigh more than others.
    """
    prompt, answers = question(row, "question", where), row.get("generated")
    if not isinstance(answers, list) or not answers:
        raise DataError(f"{where}: the field 'generated' is not a list with at least one answer")
    answer = field({"generated": answers[0]}, "generated", where).strip()
    return build([("user", prompt), ("assistant", answer)], where)


@reader("role-agent-bench", _AGENTS, (".json", ".jsonl"), has_field("target_role"), _target_role)
def _role_agent_bench(row: Any, where: str) -> list[Example]:
    """Read a row of a script's role (Liu et al. 2024, RoleAgent), recognised by its fields.

    It is of ``general_response.json`` (a free answer), ``reaction.json`` (what the role says next,
    among options) or ``self_knowledge.json`` (a statement about the role, true or false).
    """
    _target_role(row, where)
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


def _question(row: Mapping[str, Any], where: str) -> str:
    """Return the question with who asks it, where that is told."""
    text = field(row, "question", where).strip()
    source = (optional_field(row, "source_role", where) or "").strip()
    return f"{source}: {text}" if source else text


def _reaction(row: Mapping[str, Any], where: str) -> list[Example]:
    """Read options; the alternative is the wrong one after the right one, the first after the last.

    So no place among the options is always right.
    """
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
