"""What may be asked: the bodies of requests, as the openai package writes them.

A field that this server does not obey is refused and never ignored, unless it changes no answer.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from prosopon.runtime.activation import Activate
from prosopon.serving.voice import Voice


def _encodable(text: str) -> str:
    """Refuse half a surrogate pair, which no tokenizer reads."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half a surrogate pair") from None
    return text


def _boolean(value: Any) -> Any:
    """Refuse 0, which equals False and would pass for it."""
    if isinstance(value, bool):
        return value
    raise ValueError("Input should be a valid boolean")


Text = Annotated[str, AfterValidator(_encodable)]
Stop = Annotated[str, AfterValidator(_encodable), Field(min_length=1, max_length=200)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1, le=2**31)]
Zero = Annotated[float, Field(ge=0.0, le=0.0)]
One = Annotated[int, Field(ge=1, le=1)]
No = Annotated[Literal[False], BeforeValidator(_boolean)]
Tokens = Annotated[list[Annotated[int, Field(ge=0, le=2**31)]], Field(min_length=1)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class PersonaBody(_Body):
    """Who answers: ``name`` and ``strength``, or ``blend``, weights by name."""

    name: Text | None = None
    strength: Share | None = None
    blend: Annotated[dict[Text, Share], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.name is None) == (self.blend is None):
            raise ValueError("give either a name or a blend")
        if self.blend is not None and self.strength is not None:
            raise ValueError("a blend has its strengths as weights")
        return self

    def voice(self) -> Voice:
        """Return the voice that is meant."""
        if self.blend is not None:
            return Voice(blend=tuple(self.blend.items()))
        return Voice(self.name, 1.0 if self.strength is None else self.strength)


def _by_name(value: Any) -> Any:
    """Let a text stand for the persona of that name."""
    return {"name": value} if isinstance(value, str) else value


class StreamOptions(_Body):
    """What a stream holds besides its pieces."""

    include_usage: bool = False
    include_obfuscation: bool = False


class Generation(_Body):
    """What a chat and a completion have in common."""

    model: Text
    persona: Annotated[
        PersonaBody | None,
        BeforeValidator(_by_name, json_schema_input_type=Text | PersonaBody | None),
    ] = None
    activate: Activate | None = None
    max_tokens: Count | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    # These say nothing about the answer, or nothing but what is so anyway.
    user: Text | None = None
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The strings that end an answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def shows_usage(self) -> bool:
        """Whether a stream ends with the count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class TextPart(_Body):
    """A part of a message; there is none but text."""

    type: Literal["text"]
    text: Text


class TurnBody(_Body):
    """A message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(min_length=1)]
    name: Text | None = None

    @property
    def text(self) -> str:
        """What is said."""
        parts = self.content
        return parts if isinstance(parts, str) else "".join(part.text for part in parts)


class ChatBody(Generation):
    """The body of ``/v1/chat/completions``."""

    messages: Annotated[list[TurnBody], Field(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    store: No | None = None
    metadata: dict[str, Any] | None = None
    response_format: dict[Literal["type"], Literal["text"]] | None = None

    @model_validator(mode="after")
    def _needs_logprobs(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        return self


class CompletionBody(Generation):
    """The body of ``/v1/completions``."""

    prompt: (
        Text
        | Tokens
        | Annotated[list[Text], Field(min_length=1)]
        | Annotated[list[Tokens], Field(min_length=1)]
    )
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    best_of: One | None = None
    echo: No | None = None
    suffix: Literal[""] | None = None


class LoadBody(_Body):
    """The body of a request to load personas."""

    source: Text  # a folder or a pack in the folder of personas, pack#name, or hf:org/name
    # What to call it; of a pack's personas the pack says.
    name: Annotated[Text, Field(min_length=1)] | None = None
