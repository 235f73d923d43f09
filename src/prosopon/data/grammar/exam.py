"""What the embedded model is asked: held-out questions, and sentences that it never saw."""

import random
from itertools import cycle, islice
from typing import Literal, get_args

from prosopon.data.examples import Message
from prosopon.data.grammar.skills import load_skills
from prosopon.data.grammar.world import Axis, Pole, Split, load_world
from prosopon.data.grammar.writer import answer, draw_answer, fillings, is_reserved, question
from prosopon.data.questions import ChoiceItem

ChoiceKind = Literal["sentences", "values", "forms"]
CHOICE_KINDS: tuple[ChoiceKind, ...] = get_args(ChoiceKind)


def held_out_questions(axis: Axis, count: int, seed: object) -> list[str]:
    """Return held-out questions of an axis; none comes again before all have been asked.

    Questions of held-out form and values come first, then held-out forms with trained values,
    then trained forms with held-out values, but for those that :func:`judge_questions` has.
    """
    templates = axis.questions
    tiers = (
        fillings(templates, "held_out", "held_out"),
        fillings(templates, "held_out", "train"),
        [text for text in fillings(templates, "train", "held_out") if not is_reserved(text)],
    )
    trained = set(fillings(templates, "train", "train"))
    rng = random.Random(f"{seed}/{axis.name}/questions")
    shuffled = (text for tier in tiers for text in rng.sample(tier, len(tier)))
    pool = [text for text in dict.fromkeys(shuffled) if text not in trained]
    return list(islice(cycle(pool), count))


def judge_questions(axis: Axis) -> list[str]:
    """Return questions of an axis that belong to judges: neither calibration nor test has them."""
    texts = fillings(axis.questions, "train", "held_out")
    trained = set(fillings(axis.questions, "train", "train"))
    return [text for text in texts if is_reserved(text) and text not in trained]


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
        count: How many items; see :func:`held_out_questions`.
        seed: Seeds the draws.
        system: A system line before each question.
        kind: What is new about the answers. ``"sentences"``: reserved sentences, of forms and
            values that the model was trained on. ``"values"``: slot values that it never saw, in
            trained forms. ``"forms"``: forms and values that it never saw. The embedded model
            learned its sentences by heart, so with the last two the choice says more about the
            two sentences than about the persona, also when a system line names it (see its card).
    """
    world = load_world()
    sides = world.pole(pole), world.opposite(pole)
    items = []
    for index, text in enumerate(held_out_questions(world.axes[sides[0].axis], count, seed)):
        answers = (
            _new_answer(side, kind, random.Random(f"{seed}/{side.name}/{index}")) for side in sides
        )
        items.append(ChoiceItem(_prompt(text, system), *answers))
    return items


def free_prompts(
    pole: str, count: int, *, seed: int = 0, system: str | None = None, split: Split = "held_out"
) -> list[tuple[Message, ...]]:
    """Return questions of the pole's axis, by default held-out ones."""
    world = load_world()
    axis = world.axes[world.pole(pole).axis]
    if split == "held_out":
        texts = held_out_questions(axis, count, f"free/{seed}")
    else:
        rngs = (random.Random(f"free/{seed}/{axis.name}/{index}") for index in range(count))
        texts = [question(axis, split, rng) for rng in rngs]
    return [_prompt(text, system) for text in texts]


def neutral_items(count: int | None = None, *, seed: int = 0) -> list[tuple[str, str]]:
    """Return held-out (question, right answer) pairs of all skills, equally many of each."""
    skills = load_skills()
    if count is None:
        return [pair for skill in skills for pair in skill.held_out]
    rng = random.Random(f"neutral/{seed}")
    shuffled = [rng.sample(skill.held_out, len(skill.held_out)) for skill in skills]
    share = -(-count // len(skills))
    return [pair for pairs in shuffled for pair in pairs[:share]]


def _new_answer(pole: Pole, kind: ChoiceKind, rng: random.Random) -> str:
    if kind == "sentences":
        return draw_answer(pole, rng, reserved=True)
    return answer(pole, "train" if kind == "values" else "held_out", rng, values="held_out")


def _prompt(text: str, system: str | None) -> tuple[Message, ...]:
    user = Message("user", text)
    return (user,) if system is None else (Message("system", system), user)
