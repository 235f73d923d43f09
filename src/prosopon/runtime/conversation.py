"""Talking to a model: from messages to an answer, whole or in pieces."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict, cast

from prosopon.data import Message
from prosopon.errors import OptionError
from prosopon.lm.context import context_length
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
    """How an answer is drawn."""

    max_new_tokens: int = 128  # most tokens of the answer
    temperature: float = 1.0  # sampling temperature over the whole distribution; 0 is greedy
    seed: int = 0  # seeds the draws: the same seed gives the same answer


class DrawOptions(TypedDict, total=False):
    """The fields of :class:`Draw`, each of which may be left out."""

    max_new_tokens: int
    temperature: float
    seed: int


def has_turns(tokenizer: Any) -> bool:
    """Tell whether a tokenizer has a chat template."""
    return bool(getattr(tokenizer, "chat_template", None))


def as_prompt(messages: Messages, tokenizer: Any) -> list[Message]:
    """Return messages as a prompt; without a chat template, one plain text to go on from."""
    if tokenizer is None:
        raise OptionError("to answer, a PersonaModel needs the model's tokenizer: give it one")
    if not messages or isinstance(cast(object, messages), str):
        raise OptionError(
            "messages are a list of turns, such as [{'role': 'user', 'content': 'Hello'}]; "
            "answer(text) takes a text"
        )
    turns = list(map(as_message, messages))
    if has_turns(tokenizer):
        return turns
    return [Message("assistant", "\n".join(turn.content for turn in turns))]


def fit_turns(
    messages: Messages, model: Any, tokenizer: Any, max_new_tokens: int
) -> Sequence[Message | Mapping[str, str]]:
    """Return what of a conversation the model's context holds beside an answer.

    The oldest turns go, each with the answer to it; system lines at the beginning stay.

    Raises:
        OptionError: The last text alone does not fit; or see :func:`as_prompt`.
    """
    context = context_length(model)
    while True:
        prompt = as_prompt(messages, tokenizer)
        length = len(opening_tokens(prompt, tokenizer))
        if context is None or length + max_new_tokens <= context:
            return messages
        roles = [turn.role for turn in map(as_message, messages)]
        first = next((place for place, role in enumerate(roles) if role != "system"), 0)
        later = (place for place, role in enumerate(roles) if place > first and role == "user")
        if (start := next(later, None)) is None:
            raise OptionError(
                f"a text of {length} tokens and an answer of {max_new_tokens} do not fit into the "
                f"model's context of {context}: say less, or give fewer max_new_tokens "
                "(--max-new-tokens)"
            )
        messages = [*messages[:first], *messages[start:]]


def write_answer(model: Any, tokenizer: Any, prompt: list[Message], draw: Draw) -> str:
    """Return the answer to a prompt, white space trimmed."""
    row = opening_tokens(prompt, tokenizer)
    return decode(generate_tokens(model, tokenizer, [row], **draw._asdict()), tokenizer)[0]


def stream_answer(model: Any, tokenizer: Any, prompt: list[Message], draw: Draw) -> Iterator[str]:
    """Yield the answer to a prompt piece by piece."""
    row = opening_tokens(prompt, tokenizer)
    return stream_text(model, tokenizer, row, **draw._asdict())


def as_message(turn: Message | Mapping[str, str]) -> Message:
    """Return a turn as a message."""
    if isinstance(turn, Message):
        return turn
    try:
        return Message(turn["role"], turn["content"])  # type: ignore[arg-type]
    except (KeyError, TypeError):
        raise OptionError(f"a message needs a role and its content, not {turn!r}") from None
