"""What the embedded model is asked: held-out questions, and sentences that it never saw."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prosopon.data import Message
from prosopon.data.grammar import (
    Pole,
    answer,
    draw_answer,
    judge,
    load_skills,
    load_world,
    question,
)
from prosopon.evaluation.choice import ChoiceItem
from prosopon.lm.generation import generate_answers

ChoiceKind = Literal["sentences", "values", "forms"]
CHOICE_KINDS: tuple[ChoiceKind, ...] = ("sentences", "values", "forms")


@dataclass(frozen=True)
class FreeText:
    """Shares of free answers that the grammar assigns to target, opposite and neither."""

    target: float
    opposite: float
    neither: float


def choice_items(
    pole: str,
    count: int,
    *,
    seed: int = 0,
    system: str | None = None,
    kind: ChoiceKind = "sentences",
) -> list[ChoiceItem]:
    """Return held-out questions with an answer of the pole and one of its opposite.

    No answer is part of any calibration set. Both poles of an axis get the same questions and
    answers, exchanged.

    Args:
        pole: The target.
        count: How many items.
        seed: Seeds the draws.
        system: A system line before each question.
        kind: What is new about the answers. ``"sentences"``: reserved sentences, of forms and
            values that the model was trained on. ``"values"``: slot values that it never saw, in
            trained forms. ``"forms"``: forms and values that it never saw. The embedded model
            learned its sentences by heart, so with the last two the choice says more about the
            two sentences than about the persona, also when a system line names it (see its card).
    """
    world = load_world()
    ours, theirs = world.pole(pole), world.opposite(pole)
    axis = world.axes[ours.axis]
    items = []
    for index in range(count):
        asked = question(axis, "held_out", random.Random(f"{seed}/{axis.name}/{index}"))
        told, other = (
            _new_answer(side, kind, random.Random(f"{seed}/{side.name}/{index}"))
            for side in (ours, theirs)
        )
        items.append(ChoiceItem(_prompt(asked, system), told, other))
    return items


def _new_answer(pole: Pole, kind: ChoiceKind, rng: random.Random) -> str:
    if kind == "sentences":
        return draw_answer(pole, rng, reserved=True)
    return answer(pole, "train" if kind == "values" else "held_out", rng, values="held_out")


def free_prompts(
    pole: str,
    count: int,
    *,
    seed: int = 0,
    system: str | None = None,
    split: Literal["held_out", "train"] = "held_out",
) -> list[tuple[Message, ...]]:
    """Return questions of the pole's axis, by default with held-out templates and values."""
    world = load_world()
    axis = world.axes[world.pole(pole).axis]
    rngs = (random.Random(f"free/{seed}/{axis.name}/{index}") for index in range(count))
    return [_prompt(question(axis, split, rng), system) for rng in rngs]


def free_text(answers: Sequence[str], target: str, opposite: str) -> FreeText:
    """Judge free answers by the grammar."""
    verdicts = Counter(judge(text, target, opposite) for text in answers)
    shares = {kind: verdicts[kind] / len(answers) for kind in ("target", "opposite", "neither")}
    return FreeText(**shares)


def neutral_items(count: int | None = None, *, seed: int = 0) -> list[tuple[str, str]]:
    """Return held-out (question, right answer) pairs of all skills, equally many of each.

    Args:
        count: How many at most; default all.
        seed: Seeds the draw.
    """
    skills = load_skills()
    if count is None:
        return [pair for skill in skills for pair in skill.held_out]
    rng = random.Random(f"neutral/{seed}")
    shuffled = [rng.sample(skill.held_out, len(skill.held_out)) for skill in skills]
    share = -(-count // len(skills))
    return [pair for pairs in shuffled for pair in pairs[:share]]


def neutral_accuracy(
    model: Any,
    tokenizer: Any,
    items: Sequence[tuple[str, str]],
    *,
    system: str | None = None,
) -> float:
    """Return the share of neutral questions whose greedy answer is right to the letter."""
    prompts = [_prompt(asked, system) for asked, _ in items]
    answers = generate_answers(model, tokenizer, prompts, temperature=0.0, batch_size=128)
    return sum(a == told for a, (_, told) in zip(answers, items, strict=True)) / len(items)


def _prompt(asked: str, system: str | None) -> tuple[Message, ...]:
    user = Message("user", asked)
    return (user,) if system is None else (Message("system", system), user)
