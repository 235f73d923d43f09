"""Figures of the embedded model's answers, by its own grammar."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prosopon.data import Message
from prosopon.data.grammar import judge
from prosopon.lm.generation import generate_answers


@dataclass(frozen=True)
class TextShares:
    """Shares of free answers that the grammar assigns to target, opposite and neither."""

    target: float
    opposite: float
    neither: float


def free_text(answers: Sequence[str], target: str, opposite: str) -> TextShares:
    """Judge free answers by the grammar."""
    verdicts = Counter(judge(text, target, opposite) for text in answers)
    shares = {kind: verdicts[kind] / len(answers) for kind in ("target", "opposite", "neither")}
    return TextShares(**shares)


def neutral_accuracy(
    model: Any,
    tokenizer: Any,
    items: Sequence[tuple[str, str]],
    *,
    system: str | None = None,
) -> float:
    """Return the share of neutral questions whose greedy answer is right to the letter."""
    before = () if system is None else (Message("system", system),)
    prompts = [(*before, Message("user", text)) for text, _ in items]
    answers = generate_answers(model, tokenizer, prompts, temperature=0.0, batch_size=128)
    return sum(a == right for a, (_, right) in zip(answers, items, strict=True)) / len(items)
