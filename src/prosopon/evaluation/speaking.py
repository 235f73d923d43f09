"""What can be asked of an arm: scores of given answers, free text, and the loss of plain text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from prosopon.data import Encoded, Message

Prompt = tuple[Message, ...]
"""Messages before an answer. A single assistant message is plain text that is gone on from."""

Normalisation = Literal["summed", "per-token", "per-byte", "calibrated"]
"""How answers of different length are compared: by log p, by log p over tokens or over bytes,
or by log p less that of the same answer after an empty question."""

NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)


@dataclass(frozen=True)
class OptionQuestion:
    """A prompt and the answers to choose from.

    Attributes:
        prompt: What is asked.
        options: The answers, at least two.
        calibrate: Whether the ``calibrated`` scores are read, which cost a second reading.
    """

    prompt: Prompt
    options: tuple[str, ...]
    calibrate: bool = True


@dataclass(frozen=True)
class OptionScores:
    """How an arm likes the options of one question; higher is better.

    Attributes:
        by: Scores of all options, in order, under every normalisation that is read.
    """

    by: Mapping[Normalisation, tuple[float, ...]]


class Speaker(Protocol):
    """An arm that is ready to be asked.

    Attributes:
        writes: Whether it can write free text; the rules (``shortest``, ...) cannot.
    """

    @property
    def writes(self) -> bool:
        """Whether it can write free text."""

    def score(self, questions: Sequence[OptionQuestion]) -> list[OptionScores]:
        """Return the scores of every question's options, in order."""

    def write(
        self,
        prompts: Sequence[Prompt],
        *,
        temperature: float = 1.0,
        max_new_tokens: int = 48,
        seed: int = 0,
    ) -> list[str]:
        """Return a free answer to each prompt, in order.

        Raises:
            OptionError: It cannot write.
        """

    def losses(self, texts: Sequence[Encoded]) -> list[tuple[float, int]]:
        """Return (nats, predicted tokens) of each text, read without anything before it.

        Raises:
            OptionError: It cannot read.
        """

    def added_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        """Return how many tokens the arm adds to each prompt; 0 for a mask."""
