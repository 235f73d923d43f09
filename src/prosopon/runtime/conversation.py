"""Talking to a model: from messages to an answer, whole or in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from prosopon.data import Message
from prosopon.errors import OptionError
from prosopon.lm.generation import decode, generate_tokens, opening_tokens
from prosopon.lm.streaming import stream_text

Messages = Sequence[Message | Mapping[str, str]]
"""The turns of a conversation."""

NO_TEMPLATE = (
    "the model has no chat template, so it knows no turns: it goes on from the plain text of the "
    "messages. Its masks were calibrated on lines of the form 'User: ...' and 'Assistant: ...'; "
    "write those into the text to ask in that form"
)
"""What is said once of a model without turns."""


class Draw(NamedTuple):
    """How an answer is drawn.

    Attributes:
        max_new_tokens: Most tokens.
        temperature: Sampling temperature over the whole distribution; 0 is greedy.
        seed: Seeds the draws.
    """

    max_new_tokens: int
    temperature: float
    seed: int


def has_turns(tokenizer: Any) -> bool:
    """Tell whether a tokenizer has a chat template."""
    return bool(getattr(tokenizer, "chat_template", None))


def as_prompt(messages: Messages, tokenizer: Any) -> list[Message]:
    """Return messages as a prompt; without a chat template, one plain text to go on from.

    Raises:
        OptionError: There are no messages, one lacks a role or its content, or there is no
            tokenizer.
    """
    if tokenizer is None:
        raise OptionError("to answer, a PersonaModel needs the model's tokenizer: give it one")
    if not messages or isinstance(cast(object, messages), str):
        raise OptionError(
            "messages are a list of turns, such as [{'role': 'user', 'content': 'Hello'}]; "
            "answer(text) takes a text"
        )
    turns = [turn if isinstance(turn, Message) else _message(turn) for turn in messages]
    if has_turns(tokenizer):
        return turns
    return [Message("assistant", "\n".join(turn.content for turn in turns))]


def write_answer(model: Any, tokenizer: Any, prompt: list[Message], draw: Draw) -> str:
    """Return the answer to a prompt, white space trimmed."""
    row = opening_tokens(prompt, tokenizer)
    return decode(generate_tokens(model, tokenizer, [row], **draw._asdict()), tokenizer)[0]


def stream_answer(model: Any, tokenizer: Any, prompt: list[Message], draw: Draw) -> Iterator[str]:
    """Yield the answer to a prompt piece by piece."""
    row = opening_tokens(prompt, tokenizer)
    return stream_text(model, tokenizer, row, **draw._asdict())


def _message(turn: Mapping[str, str]) -> Message:
    try:
        return Message(turn["role"], turn["content"])  # type: ignore[arg-type]
    except (KeyError, TypeError):
        raise OptionError(f"a message needs a role and its content, not {turn!r}") from None
