"""Who wins a choice: ties count half, under every normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from prosopon.data import Message
from prosopon.errors import ModelError
from prosopon.evaluation.speaking import Normalisation, OptionScores


def win(scores: OptionScores, normalisation: Normalisation, option: int = 0) -> float:
    """Return 1 where an option beats all others, 0 where one beats it, a share of a tie.

    Args:
        scores: Of a question's options.
        normalisation: How answers of different length are compared.
        option: The option.

    Raises:
        ModelError: A score is NaN, so nothing wins.
    """
    values = scores.by[normalisation]
    if any(value != value for value in values):
        raise ModelError("an answer's likelihood is NaN: the model computes no numbers")
    best = max(values)
    if values[option] < best:
        return 0.0
    return 1.0 / sum(value == best for value in values)


def margin(scores: OptionScores, normalisation: Normalisation, option: int = 0) -> float:
    """Return an option's score less the best other one's, in the normalisation's unit (nats)."""
    values = scores.by[normalisation]
    return values[option] - max(v for i, v in enumerate(values) if i != option)


def as_text(prompt: Sequence[Message]) -> str:
    """Return a prompt as people read it in a report."""
    if len(prompt) == 1:
        return prompt[0].content
    return "\n".join(f"{turn.role}: {turn.content}" for turn in prompt)
