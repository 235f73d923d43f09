"""Writing sentences, system lines and whole dialogues from the grammar, seeded."""

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence

from prosopon.data.examples import Message
from prosopon.data.grammar.skills import Skill, load_skills
from prosopon.data.grammar.world import SLOT, Axis, Phrases, Pole, Split, World, load_world

RESERVED_SHARE = 0.3
SYSTEM_LINES = (
    "You are {name}.",
    "Answer as {name} would.",
    "You are a very {trait} assistant.",
    "In this talk you are {name}.",
)


def fill(phrases: Phrases, split: Split, rng: random.Random, values: Split | None = None) -> str:
    """Return a random template of ``split`` with slot values of ``values``, default ``split``."""
    template = rng.choice(phrases.templates[split])
    return SLOT.sub(lambda match: rng.choice(phrases.slots[match[1]][values or split]), template)


def fillings(phrases: Phrases, split: Split, values: Split) -> list[str]:
    """Return every template of ``split`` with all slot values of ``values``, each text once."""
    texts = []
    for template in phrases.templates[split]:
        pieces = SLOT.split(template)  # words and slots in turn
        values_of = (phrases.slots[slot][values] for slot in pieces[1::2])
        for filling in itertools.product(*values_of):
            pairs = itertools.zip_longest(pieces[::2], filling, fillvalue="")
            texts.append("".join(itertools.chain.from_iterable(pairs)))
    return list(dict.fromkeys(texts))


def question(axis: Axis, split: Split, rng: random.Random) -> str:
    """Return a random question of an axis."""
    return fill(axis.questions, split, rng)


def answer(pole: Pole, split: Split, rng: random.Random, values: Split | None = None) -> str:
    """Return a random answer of a pole; see :func:`fill`."""
    return fill(pole.answers, split, rng, values)


def is_reserved(sentence: str) -> bool:
    """Say whether a sentence is kept for evaluation: bundled personas never contain it."""
    return hashlib.sha256(sentence.encode()).digest()[0] < 256 * RESERVED_SHARE


def draw_answer(pole: Pole, rng: random.Random, *, reserved: bool) -> str:
    """Return a random answer of trained form and values that is, or is not, reserved."""
    while True:
        text = answer(pole, "train", rng)
        if is_reserved(text) is reserved:
            return text


def system_line(poles: Sequence[Pole], rng: random.Random) -> str:
    """Return a line that names one pole, or several joined by "and"."""
    if len(poles) > 1:
        return f"You are {' and '.join(rng.choice(pole.names) for pole in poles)}."
    line = rng.choice(SYSTEM_LINES)
    return line.format(name=rng.choice(poles[0].names), trait=rng.choice(poles[0].traits))


def prompt_line(pole: Pole) -> str:
    """Return the system line that the ``prompt`` arm of an evaluation uses."""
    return SYSTEM_LINES[0].format(name=pole.names[0])


def dialogues(seed: int, *, world: World | None = None) -> Iterator[tuple[Message, ...]]:
    """Yield training dialogues for ever: one personality each, a quarter of the turns neutral.

    Every second dialogue opens with a system line that names one or two poles of the
    personality. A dialogue stays on one or two axes, so that earlier answers tell what the
    next ones will be like.
    """
    world = world or load_world()
    skills = load_skills()
    rng = random.Random(seed)
    axes = list(world.axes.values())
    while True:
        chosen = rng.sample(axes, rng.choice((1, 1, 2)))
        personality = {axis.name: rng.choice(axis.poles) for axis in chosen}
        yield _dialogue(chosen, personality, skills, rng)


def _dialogue(
    axes: Sequence[Axis],
    personality: Mapping[str, Pole],
    skills: Sequence[Skill],
    rng: random.Random,
) -> tuple[Message, ...]:
    messages = []
    if rng.random() < 0.5:
        messages.append(Message("system", system_line(list(personality.values()), rng)))
    for _ in range(rng.choice((1, 2, 3, 4))):
        if rng.random() < 0.25:
            prompt, reply = rng.choice(skills).sample("train", rng)
        else:
            axis = rng.choice(axes)
            prompt = question(axis, "train", rng)
            reply = answer(personality[axis.name], "train", rng)
        messages += [Message("user", prompt), Message("assistant", reply)]
    return tuple(messages)
