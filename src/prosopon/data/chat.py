"""From messages to the text that a model reads, and where the answer stands in it.

With a chat template the text is what the template makes of the messages; the answer reaches from
its first character, which follows the generation prompt, to the end of the text: the end-of-turn
marker is included, the whitespace after it is not. Without one it is the plain form:

    You are an extravert.
                                     <- an empty line after the system text
    User: How was your day?
    Assistant: Wonderful, I met everyone.

A conversation of a single assistant message is plain text under any tokenizer: nobody asked, so
there is no turn to mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from prosopon.data.examples import Message, check_conversation
from prosopon.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RENDERING_DATE = datetime(2025, 1, 1)
"""The day that templates are told it is: the same examples give the same text on every day."""

_TEMPLATE_VARIABLES = {
    # Templates that can think aloud first write the empty thought of a direct answer into the
    # generation prompt only when told so; otherwise it would count as part of the answer.
    "enable_thinking": False,
    # Llama 3's templates write today's date unless told which; see `_frozen_clock` for the others.
    "date_string": RENDERING_DATE.strftime("%d %b %Y"),
}
_PLACEHOLDER = "PROSOPONxANSWERxPLACEHOLDER"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a conversation."""

    text: str  # what the tokenizer gets
    response_start: int  # character where the answer starts
    response_end: int  # character after the answer's last one
    # whether the tokenizer should add its special tokens; templates write them themselves
    add_special_tokens: bool


def render(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase | None = None
) -> Rendered:
    """Render a conversation that ends with the assistant's answer.

    The tokenizer's chat template is used; None, or one without, gives the plain form.

    Raises:
        DataError: The last message is not an answer, or the template refuses the conversation or
            hides where the answer stands.
    """
    check_conversation(messages)
    if len(messages) == 1 or not _has_template(tokenizer):
        text = _plain(messages)
        return Rendered(text, len(text) - len(messages[-1].content), len(text), True)
    template = _Template(tokenizer, messages)
    text = template.apply(messages)
    end = len(text.rstrip())
    start = _answer_start(template, messages, text)
    if start is None or start >= end:
        raise DataError("the chat template does not show where the assistant's answer stands")
    return Rendered(text, start, end, False)


def render_prompt(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase | None = None
) -> Rendered:
    """Render what stands before the assistant's answer, for generation.

    `response_start` and `response_end` are both the end of the text. The plain form ends in
    ``"Assistant:"`` without a space, because tokenizers make the space a part of the answer's
    first token. No messages give an empty text, as before an answer that is plain text.

    Raises:
        DataError: The last message is the assistant's own, a system message is not the first, or
            the template refuses the conversation.
    """
    if messages and messages[-1].role == "assistant":
        raise DataError("the prompt ends with the assistant's message; leave the answer out")
    answered = [*messages, Message("assistant", _PLACEHOLDER)]
    check_conversation(answered)
    if not messages or not _has_template(tokenizer):
        text = _plain(answered).removesuffix(_PLACEHOLDER).rstrip(" ")
        return Rendered(text, len(text), len(text), True)
    text = _Template(tokenizer, answered).apply(messages, add_generation_prompt=True)
    return Rendered(text, len(text), len(text), False)


def rendering_date(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return the day that a tokenizer's template writes as today, or None where it writes none."""
    template = str(getattr(tokenizer, "chat_template", None))
    reads = any(name in template for name in ("date_string", "strftime_now"))
    return f"{RENDERING_DATE:%Y-%m-%d}" if reads else None


def with_system(turns: Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """Return turns that begin with a system line, before the one they have, if any."""
    if system is None:
        return tuple(turns)
    if turns and turns[0].role == "system":
        return Message("system", f"{system}\n{turns[0].content}"), *turns[1:]
    return Message("system", system), *turns


def merge_system(messages: Sequence[Message]) -> list[Message]:
    """Put the system text in front of the first user message; it becomes one if there is none."""
    if not messages or messages[0].role != "system":
        return list(messages)
    system, *rest = messages
    if rest and rest[0].role == "user":
        return [Message("user", f"{system.content}\n\n{rest[0].content}"), *rest[1:]]
    return [Message("user", system.content), *rest]


def _plain(messages: Sequence[Message]) -> str:
    """Return the plain form; a lone assistant message is its own text."""
    if len(messages) == 1:
        return messages[0].content
    speakers = {"user": "User: ", "assistant": "Assistant: "}
    head, rest = "", messages
    if messages[0].role == "system":
        head, rest = f"{messages[0].content}\n\n", messages[1:]
    return head + "\n".join(speakers[turn.role] + turn.content for turn in rest)


def _has_template(tokenizer: PreTrainedTokenizerBase | None) -> bool:
    return tokenizer is not None and bool(getattr(tokenizer, "chat_template", None))


class _Template:
    """A tokenizer's template, and whether the system text has to be merged into the user's.

    A template may refuse a system role (Gemma) or drop it without a word.
    """

    def __init__(self, tokenizer: Any, messages: Sequence[Message]) -> None:
        self._tokenizer = tokenizer
        self._merge = messages[0].role == "system" and not self._shows_system(messages)

    def apply(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """Return the template's text; a refusal is a DataError with the template's own words."""
        turns = merge_system(messages) if self._merge else messages
        text = _apply(self._tokenizer, turns, add_generation_prompt)
        if isinstance(text, Exception):
            reason = " ".join(str(text).split())
            raise DataError(f"the chat template refuses the conversation: {reason}") from text
        return text

    def _shows_system(self, messages: Sequence[Message]) -> bool:
        text = _apply(self._tokenizer, messages, False)
        return isinstance(text, str) and messages[0].content.strip() in text


@cache
def _frozen_clock() -> str:
    """Return a Jinja macro ``strftime_now`` that says `RENDERING_DATE` instead of now.

    A function cannot be handed over: newer versions of transformers pass templates plain data.
    """
    marks = [f"%{letter}" for letter in "aAbBcdDeFGhHIjklmMnpSTuUVwWxXyYZz"]
    marks += [f"%-{letter}" for letter in "dmyHIMSj"] + ["%f", "%%"]
    steps = "".join(f" | replace({mark!r}, {RENDERING_DATE.strftime(mark)!r})" for mark in marks)
    # The empty output keeps a line break at the template's start, which would follow a block.
    return f"{{% macro strftime_now(format) %}}{{{{ format{steps} }}}}{{% endmacro %}}{{{{ '' }}}}"


def _apply(
    tokenizer: Any, messages: Sequence[Message], add_generation_prompt: bool
) -> str | Exception:
    """Return the template's text, or what it raised."""
    turns = [{"role": turn.role, "content": turn.content} for turn in messages]
    template = {}
    if "strftime_now" in str(tokenizer.chat_template):
        template["chat_template"] = _frozen_clock() + tokenizer.get_chat_template()
    try:
        text = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=add_generation_prompt,
            **_TEMPLATE_VARIABLES, **template,
        )  # fmt: skip
    except Exception as error:  # a template is a program: it refuses or fails in any way
        return error
    return str(text)


def _answer_start(template: _Template, messages: Sequence[Message], text: str) -> int | None:
    """Return where the answer starts in ``text``, or None.

    A stand-in answer shows what the template writes before it. That is the generation prompt, but
    some templates open a thought in the generation prompt that the finished conversation does not
    have, and others know no generation prompt at all.
    """
    stand_in = template.apply([*messages[:-1], Message("assistant", _PLACEHOLDER)])
    before, placeholder, _ = stand_in.partition(_PLACEHOLDER)
    if placeholder and text.startswith(before):
        return len(before)
    # The template looks into the answer and moves a part of it, such as a thought: the answer
    # starts where the text leaves the generation prompt, if only the earlier turns are shared.
    prompt = template.apply(messages[:-1], add_generation_prompt=True)
    differing = (i for i, (a, b) in enumerate(zip(prompt, text, strict=False)) if a != b)
    shared = next(differing, min(len(prompt), len(text)))
    return shared if shared >= len(template.apply(messages[:-1])) else None
