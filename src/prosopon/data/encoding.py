"""From messages to token ids, with a mask of the tokens that count.

A text is tokenised once, and the mask comes from the character offsets of its tokens. To tokenise
prompt and answer apart and join them, or to count the prompt's tokens, goes wrong wherever a
token reaches across the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from prosopon.data.chat import Rendered, render
from prosopon.data.examples import Example, Message
from prosopon.errors import DataError, OptionError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Scope = Literal["response", "all"]
"""Which tokens count: those of the answer, or every one."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
"""The scopes there are."""

Conversation: TypeAlias = Example | Sequence[Message]
"""What can be encoded: it ends with the assistant's answer."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of one conversation; three lists of the same length."""

    input_ids: list[int]  # token ids
    scope: list[bool]  # which tokens count
    response: list[bool]  # which tokens belong to the answer, whatever the scope

    def __len__(self) -> int:
        return len(self.input_ids)


def encode(
    conversation: Conversation,
    tokenizer: PreTrainedTokenizerBase,
    *,
    scope: Scope = "response",
    max_length: int | None = None,
) -> Encoded:
    """Tokenise one conversation.

    A token belongs to the answer when it overlaps the answer by any character. Tokens that the
    tokenizer adds around the text never do; under the scope ``"all"`` they count like any other.

    Args:
        conversation: An example, or messages that end with the assistant's answer.
        tokenizer: A fast tokenizer: only those give character offsets.
        scope: Which tokens count.
        max_length: Most tokens; None keeps all. What is cut is the start of the prompt, except for
            a token that begins the sequence, without which models misbehave. An answer that is
            itself too long loses its end.

    Raises:
        DataError: No token in scope is left, the tokenizer is not a fast one, or the conversation
            cannot be rendered; the message starts with the example's source.
        OptionError: The scope is unknown or ``max_length`` is less than 1.
    """
    return encode_all([conversation], tokenizer, scope=scope, max_length=max_length)[0]


def encode_all(
    conversations: Sequence[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    *,
    scope: Scope = "response",
    max_length: int | None = None,
) -> list[Encoded]:
    """Tokenise many conversations at once; as `encode`, in the same order."""
    _check(tokenizer, scope, max_length)
    rendered = [_render(item, tokenizer) for item in conversations]
    return _encode([_where(item) for item in conversations], rendered, tokenizer, scope, max_length)


def encode_continuations(
    pairs: Sequence[tuple[str, str]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int | None = None,
) -> list[Encoded]:
    """Tokenise plain texts of which only a later part counts, as `encode_all` does an answer.

    ``pairs`` are (text before, what goes on from it). A space joins the two where neither brings
    white space, and belongs to what goes on. Beyond ``max_length`` the beginning is cut.
    """
    _check(tokenizer, "response", max_length)
    rendered = []
    for before, after in pairs:
        if not after.strip():
            raise DataError("what goes on from a text is empty")
        glued = not before or before[-1].isspace() or after[0].isspace()
        text = before + ("" if glued else " ") + after
        rendered.append(Rendered(text, len(before), len(text), True))
    return _encode([""] * len(pairs), rendered, tokenizer, "response", max_length)


def _encode(
    places: Sequence[str],
    rendered: Sequence[Rendered],
    tokenizer: PreTrainedTokenizerBase,
    scope: Scope,
    max_length: int | None,
) -> list[Encoded]:
    """Tokenise texts and mark what counts; ``places`` begin the messages about each."""
    encoded: list[Encoded] = []
    for place, text, (ids, offsets) in zip(
        places, rendered, _tokenise(rendered, tokenizer), strict=True
    ):
        response = [_overlaps(offset, text) for offset in offsets]
        begins = bool(ids) and ids[0] == tokenizer.bos_token_id
        keep = _positions(response, begins, max_length)
        response = [response[index] for index in keep]
        counted = response if scope == "response" else [True] * len(keep)
        if not any(counted):
            limit = f" within max_length {max_length}" if max_length is not None else ""
            raise DataError(f"{place}no token is left in scope {scope!r}{limit}")
        encoded.append(Encoded([ids[index] for index in keep], counted, response))
    return encoded


def _check(tokenizer: PreTrainedTokenizerBase, scope: str, max_length: int | None) -> None:
    """Refuse options outside their range, and tokenizers without offsets."""
    if scope not in SCOPES:
        raise OptionError(f"unknown scope {scope!r}. Choices: {', '.join(SCOPES)}")
    if max_length is not None and max_length < 1:
        raise OptionError(f"max_length is {max_length}; it must be at least 1")
    if not getattr(tokenizer, "is_fast", False):
        kind = type(tokenizer).__name__
        raise DataError(f"the tokenizer {kind} is not a fast one, so it gives no offsets")


def _render(item: Conversation, tokenizer: PreTrainedTokenizerBase) -> Rendered:
    """Render a conversation; an error says where the example comes from."""
    messages = item.messages if isinstance(item, Example) else item
    try:
        return render(messages, tokenizer)
    except DataError as error:
        raise DataError(f"{_where(item)}{error}") from error


def _where(item: Conversation) -> str:
    """Return the start of a message about an example whose source is known."""
    return f"{item.source}: " if isinstance(item, Example) and item.source else ""


def _tokenise(
    rendered: Sequence[Rendered], tokenizer: PreTrainedTokenizerBase
) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Return (ids, offsets) of every text, all texts of one kind in one call."""
    results: list[tuple[list[int], list[tuple[int, int]]]] = [([], [])] * len(rendered)
    for special in (False, True):
        places = [i for i, text in enumerate(rendered) if text.add_special_tokens is special]
        if not places:
            continue
        batch = tokenizer(
            [rendered[place].text for place in places],
            add_special_tokens=special,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # no note about the model's own limit: max_length is the caller's
        )
        for place, ids, offsets in zip(
            places, batch["input_ids"], batch["offset_mapping"], strict=True
        ):
            results[place] = (ids, offsets)
    return results


def _overlaps(offset: tuple[int, int], text: Rendered) -> bool:
    """Tell whether a token shares a character with the answer."""
    start, end = offset
    # Byte-level tokenizers may trim spaces off the offsets, which leaves a token of nothing but
    # spaces empty at the place where its last space ends. Added tokens are empty at 0.
    if start == end:
        return text.response_start < end <= text.response_end
    return start < text.response_end and end > text.response_start


def _positions(response: Sequence[bool], begins: bool, max_length: int | None) -> Sequence[int]:
    """Return the positions to keep, in order; ``begins`` says that the first one is special."""
    length = len(response)
    if max_length is None or length <= max_length:
        return range(length)
    room = max_length - begins
    answer = response.index(True) if any(response) else length
    start = min(length - room, answer)
    head = [0] if begins else []
    return [*head, *range(start, start + room)]
