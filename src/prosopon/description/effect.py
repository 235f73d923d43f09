"""Whether a line moves a model: answers read after the line they were written for, and the other.

An answer is never read after the very line that it was written after, but after the next of the
five wordings. So what counts is what the description says, not how the line is worded.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from prosopon.data import Message
from prosopon.description.writers import Prompt
from prosopon.intervals import Interval, bootstrap_interval
from prosopon.lm.answers import score_answers

Lines = tuple[str | None, ...]
"""The wordings of a side; of the base's side None, which is no line."""


@dataclass(frozen=True)
class PromptEffect:
    """How far two descriptions pull a model's answers apart, with intervals over questions."""

    # log p(answer | own line) - log p(answer | other line), nats an answer
    odds: Interval
    share: Interval  # of the answers that are likelier after their own line
    answers: int  # how many were read

    @classmethod
    def of(cls, questions: Sequence[int], odds: Sequence[float]) -> Self:
        """Return the effect that answers show.

        Args:
            questions: What each answer answers; those of one question are one cluster.
            odds: The log-odds of each answer, own line against the other.
        """
        groups: dict[int, list[float]] = {}
        for question, value in zip(questions, odds, strict=True):
            groups.setdefault(question, []).append(value)
        shares = [[(v > 0) + (v == 0) / 2 for v in values] for values in groups.values()]
        return cls(bootstrap_interval([*groups.values()]), bootstrap_interval(shares), len(odds))

    @property
    def moves(self) -> bool:
        """Whether the interval of the log-odds lies above 0.

        The share may stay near a half: a description may bear on a few questions alone.
        """
        return self.odds.low > 0

    def __str__(self) -> str:
        odds, share = self.odds, self.share
        return (
            f"{share.mean:.0%} [{share.low:.0%}, {share.high:.0%}] of {self.answers} answers are "
            f"likelier after their own description, by {odds.mean:.2f} [{odds.low:.2f}, "
            f"{odds.high:.2f}] nats an answer"
        )

    def record(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def prompt(question: str, line: str | None) -> Prompt:
    """Return a question after a line, or alone."""
    turn = Message("user", question)
    return (turn,) if line is None else (Message("system", line), turn)


def read_odds(
    model: Any,
    tokenizer: Any,
    sides: tuple[Lines, Lines],
    answers: Sequence[tuple[str, int, int, str]],
    *,
    max_length: int | None = None,
) -> list[float]:
    """Return log p(answer | own line) - log p(answer | other line) of each answer, in nats.

    Args:
        model: A causal LM, which reads.
        tokenizer: Its tokenizer.
        sides: The wordings of both descriptions.
        answers: (question, side, wording it was written after, answer).
        max_length: Longest prompt with answer; longer ones lose their beginning.
    """
    items = []
    for question, side, wording, text in answers:
        for lines in (sides[side], sides[1 - side]):
            items.append((prompt(question, lines[(wording + 1) % len(lines)]), text))
    scores = score_answers(model, tokenizer, items, max_length=max_length)
    return [own.total - other.total for own, other in zip(scores[::2], scores[1::2], strict=True)]
