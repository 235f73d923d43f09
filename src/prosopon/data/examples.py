"""What a persona is made of: messages, examples, and a named set of examples.

Plain frozen values with no knowledge of files, tokenizers or models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

from prosopon.errors import DataError

Role = Literal["system", "user", "assistant"]
"""Who speaks."""

ROLES: tuple[Role, ...] = get_args(Role)
"""The roles that a message can have."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Args:
        role: Who speaks: ``"system"``, ``"user"`` or ``"assistant"``.
        content: What is said.

    Raises:
        DataError: The role is unknown, or the content is no string or not valid Unicode.
    """

    role: Role
    content: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise DataError(f"unknown role {self.role!r}. Choices: {', '.join(ROLES)}")
        check_text(self.content, "content")


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation that ends with the answer which shows the persona.

    Args:
        messages: The turns; the last one is the assistant's, and a system turn comes first.
        alternative: The answer that does *not* match the persona, where the source gives one.
        source: Where the example comes from, for messages: ``"file.jsonl:12"``.

    Raises:
        DataError: There is no message, the last one is not the assistant's or is blank, a system
            message is not the first, or the alternative is blank.
    """

    messages: tuple[Message, ...]
    alternative: str | None = None
    source: str = ""

    def __post_init__(self) -> None:
        check_conversation(self.messages)
        if self.alternative is not None:
            check_text(self.alternative, "alternative")
            if not self.alternative.strip():
                raise DataError("the alternative is empty; leave it out where there is none")

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Everything before the answer; empty for plain text."""
        return self.messages[:-1]

    @property
    def response(self) -> str:
        """The assistant's last answer."""
        return self.messages[-1].content

    def swapped(self) -> Example:
        """Return the example whose answer is the alternative, and the other way round.

        Raises:
            DataError: The example has no alternative.
        """
        if self.alternative is None:
            where = f"{self.source}: " if self.source else ""
            raise DataError(f"{where}the example gives no alternative answer to swap with")
        answer = Message("assistant", self.alternative)
        return replace(self, messages=(*self.prompt, answer), alternative=self.response)


@dataclass(frozen=True)
class Persona:
    """A named behaviour, given by examples.

    Args:
        name: What the persona is called.
        examples: What shows it.
        description: One line for people.
        notes: What reading the examples has to tell: their number and format, rows left out.
        origin: How the examples came about, as JSON, where a model wrote them; a mask's
            provenance holds it.
    """

    name: str
    examples: tuple[Example, ...]
    description: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)
    origin: Mapping[str, Any] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.examples)

    def with_examples(self, examples: Iterable[Example]) -> Persona:
        """Return the persona of other examples; what was noted of these is left out."""
        return Persona(self.name, tuple(examples), self.description, origin=self.origin)

    def content_hash(self) -> str:
        """Return the hexadecimal SHA-256 of what the examples say.

        Messages and alternatives count, with repetitions; the order of the examples, their
        sources, and the persona's name and description do not.
        """
        rows = sorted(map(_row_hash, self.examples))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def opposite(self) -> Persona:
        """Return the persona ``not-<name>`` that gives every alternative as its answer.

        Raises:
            DataError: An example has no alternative.
        """
        swapped = tuple(example.swapped() for example in self.examples)
        description = f"The opposite of: {self.description}" if self.description else ""
        return Persona(f"not-{self.name}", swapped, description)


def check_conversation(messages: Sequence[Message]) -> None:
    """Check that ``messages`` end with an answer and have a system turn only at the start."""
    if not messages:
        raise DataError("there is no message")
    if messages[-1].role != "assistant":
        raise DataError(f"the last message is the {messages[-1].role}'s, not the assistant's")
    if not messages[-1].content.strip():
        raise DataError("the assistant's answer is empty")
    if any(message.role == "system" for message in messages[1:]):
        raise DataError("a system message stands after the first message")


def check_text(value: object, what: str) -> str:
    """Return ``value``, a string called ``what`` in messages.

    Half of a surrogate pair is refused: JSON can write one, but no tokenizer can hold it.
    """
    if not isinstance(value, str):
        raise DataError(f"{what} is {_kind(value)}, not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = value[error.start]
        raise DataError(f"{what} holds {half!r}, half of a surrogate pair") from None
    return value


def messages_of(turns: Iterable[tuple[str, str]]) -> tuple[Message, ...]:
    """Build messages from pairs (role, content)."""
    return tuple(Message(cast(Role, role), content) for role, content in turns)


def _kind(value: object) -> str:
    """Name the type of a JSON value as people who write JSON do."""
    names = {dict: "an object", list: "a list", bool: "a truth value", type(None): "null"}
    return names.get(type(value), f"of type {type(value).__name__}")


def _row_hash(example: Example) -> str:
    """Return the SHA-256 of one example's canonical JSON."""
    row = {
        "messages": [[message.role, message.content] for message in example.messages],
        "alternative": example.alternative,
    }
    text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
