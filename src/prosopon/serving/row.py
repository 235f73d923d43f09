"""One answer that is being written, from the request to its last token."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from prosopon.serving.refusal import Refusal
from prosopon.serving.sampling import Sampler, TokenChance, chance
from prosopon.serving.transcript import Transcript
from prosopon.serving.voice import Voice

if TYPE_CHECKING:
    from torch import Tensor


class Piece(NamedTuple):
    """A part of an answer."""

    text: str
    tokens: int  # tokens that were written for it, an end token too
    chances: tuple[TokenChance, ...] = ()  # of its tokens, where they were asked for
    finish: str | None = None  # ``stop`` or ``length`` on the last piece


@dataclass(frozen=True)
class DrawSettings:
    """How an answer is drawn."""

    max_tokens: int = 128  # most tokens
    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0  # share of the probability that is drawn from
    seed: int = 0  # seeds the row's generator
    stops: tuple[str, ...] = ()  # strings that end it
    top_logprobs: int | None = None  # likeliest tokens that are reported; None for no report
    trimmed: bool = True  # whether white space around it goes


@dataclass(eq=False)
class AnswerRow:
    """An answer to one prompt by one voice.

    ``emit`` gets its pieces, or the refusal that ends it, from the thread of the engine.
    """

    voice: Voice
    prompt: Sequence[int]
    settings: DrawSettings
    emit: Callable[[Piece | Refusal], None]
    deadline: float = float("inf")  # of time.monotonic
    overdue: Refusal | None = None  # what is said when the deadline has passed
    is_cancelled: bool = False  # nobody waits for it any more
    is_done: bool = False
    arrival: float = field(default_factory=time.monotonic)
    written: list[int] = field(default_factory=list)
    _chances: list[TokenChance] = field(default_factory=list)
    _unsent: int = 0

    def open(self, tokenizer: Any) -> None:
        """Prepare for the first token."""
        own = self.settings
        self.sampler = Sampler(own.temperature, own.top_p, own.seed)
        before = None if own.trimmed else self.prompt[-1]
        self._transcript = Transcript(tokenizer, own.stops, before)

    @property
    def tokens(self) -> list[int]:
        """All that was read and written."""
        return [*self.prompt, *self.written]

    def take(self, token: int, scores: "Tensor", ends: set[int]) -> None:
        """Take the next token, which was drawn from scores, and send what is final."""
        self._unsent += 1
        if token in ends:
            self._send(self._transcript.end(), "stop")
            return
        self.written.append(token)
        if self.settings.top_logprobs is not None:
            self._chances.append(chance(scores, token, self.settings.top_logprobs))
        text = self._transcript.push(token)
        if self._transcript.stopped:
            self._send(text, "stop")
        elif len(self.written) >= self.settings.max_tokens:
            rest = self._transcript.end()
            self._send(text + rest, "stop" if self._transcript.stopped else "length")
        elif text:
            self._send(text, None)

    def fail(self, refusal: Refusal) -> None:
        """End it without an answer."""
        if not self.is_done:
            self.is_done = True
            self.emit(refusal)

    def check(self) -> bool:
        """Return whether it goes on: somebody waits, and there is time left."""
        if not self.is_done and self.is_cancelled:
            self.is_done = True
        elif time.monotonic() > self.deadline:
            self.fail(self.overdue or Refusal(504, "the time for the answer is over", "timeout"))
        return not self.is_done

    def _send(self, text: str, finish: str | None) -> None:
        self.is_done = finish is not None
        self.emit(Piece(text, self._unsent, tuple(self._chances), finish))
        self._chances, self._unsent = [], 0
