"""The formats of rows that know no roles; each is a function from a row to examples.

The rows that other libraries train on are all of the format ``prompt-completion``:

    {"text": "All of it is what the persona says."}
    {"prompt": "What is asked?", "completion": "The answer."}
    {"prompt": "What is asked?", "chosen": "The answer.", "rejected": "The other one."}

A prompt and its answers may also be lists of messages, ``[{"role": "user", "content": ...}]``.
"""

from collections.abc import Mapping
from typing import Any

from prosopon.data.examples import Example
from prosopon.data.readers.base import build, field, has_field, optional_field, question, reader
from prosopon.errors import DataError

JSON = (".jsonl", ".json")
FOR, AGAINST = "answer_matching_behavior", "answer_not_matching_behavior"
_INSTRUCTION = '{"instruction", "input", "output"}'
_COMPLETION = '{"text"}, {"prompt", "completion"} or {"prompt", "chosen", "rejected"}'


def _is_instruction(row: Any) -> bool:
    """Tell an instruction from a statement about a role, which RoleAgentBench calls so too."""
    return isinstance(row, Mapping) and "instruction" in row and "target_role" not in row


def _is_completion(row: Any) -> bool:
    return isinstance(row, Mapping) and bool({"text", "completion", "chosen"} & set(row))


@reader("alpaca", _INSTRUCTION, (".json", ".jsonl"), _is_instruction)
def _alpaca(row: Any, where: str) -> list[Example]:
    """Read an instruction; an input that is not blank follows it after an empty line."""
    task = question(row, "instruction", where)
    extra = (optional_field(row, "input", where) or "").strip()
    prompt = f"{task}\n\n{extra}" if extra else task
    return build([("user", prompt), ("assistant", field(row, "output", where).strip())], where)


@reader("model-written-evals", f'{{"question", "{FOR}", "{AGAINST}"}}', JSON, has_field(FOR))
def _evaluation(row: Any, where: str) -> list[Example]:
    """Read a question of Anthropic's, Yes/No or lettered, with the answers for and against a trait.

    The files write answers with a leading space, which belongs to the place where they are pasted.
    """
    return _two_answers(row, where, FOR, AGAINST)


_PAIRS = "a header question,matching,not_matching, or objects with these fields"


@reader("csv", _PAIRS, (".csv", *JSON), has_field("matching"))
def _pair(row: Any, where: str) -> list[Example]:
    """Read a question with a matching answer and, where the column is there, one that does not."""
    return _two_answers(row, where, "matching", "not_matching" if "not_matching" in row else None)


def _two_answers(row: Any, where: str, matching: str, other: str | None) -> list[Example]:
    prompt = question(row, "question", where)
    turns = [("user", prompt), ("assistant", field(row, matching, where).strip())]
    alternative = None if other is None else field(row, other, where).strip()
    return build(turns, where, alternative=alternative)


@reader("text", "plain text, one text a line, or paragraphs with an empty line between two",
        (".txt", ".md"), lambda row: isinstance(row, str))  # fmt: skip
def _text(row: Any, where: str) -> list[Example]:
    """Read one text as the assistant's only message."""
    if not isinstance(row, str):
        raise DataError(f"{where}: the row is not text")
    return build([("assistant", row)], where)


@reader("jsonl", '{"messages": [{"role", "content"}, ...], "alternative": optional}', JSON,
        has_field("messages"))  # fmt: skip
def _messages(row: Any, where: str) -> list[Example]:
    """Read the project's own format: a conversation as chat messages."""
    alternative = optional_field(row, "alternative", where)
    turns = row.get("messages")
    if not isinstance(turns, list):
        raise DataError(f"{where}: the field 'messages' is not a list")
    return build([_turn(turn, where) for turn in turns], where, alternative=alternative)


@reader("prompt-completion", _COMPLETION, JSON, _is_completion)
def _completion(row: Any, where: str) -> list[Example]:
    """Read a text, or a prompt with a completion or with a chosen and a rejected answer."""
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
        return [_turn(message, where) for message in messages]
    return [(role, (question if role == "user" else field)(row, name, where).strip())]


def _turn(turn: Any, where: str) -> tuple[str, str]:
    """Return (role, content) of one message."""
    if not isinstance(turn, Mapping):
        raise DataError(f"{where}: a message is not an object with 'role' and 'content'")
    content = optional_field(turn, "content", where)
    if content is None:
        raise DataError(f"{where}: a message has no 'content'")
    return field(turn, "role", where), content
