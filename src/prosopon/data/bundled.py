"""The personas that ship with the package: the sixteen poles of the grammar.

Their examples use training templates and values only, and none of the reserved sentences; what is
held out serves evaluation. Both poles of an axis answer the same questions in the same order.
A name that is none is an UnknownNameError, which lists them.
"""

import random
from functools import cache

from prosopon.data.examples import Example, Message, Persona
from prosopon.data.grammar import draw_answer, load_world, question

SIZE = 512


def names() -> list[str]:
    """Return the names of the bundled personas, axis by axis."""
    return list(load_world().poles)


def description(name: str) -> str:
    """Return one line that says who a bundled persona is."""
    return load_world().pole(name).description


def opposite(name: str) -> str:
    """Return the name of the persona at the other end of the axis."""
    return load_world().opposite(name).name


@cache
def load(name: str) -> Persona:
    """Return a bundled persona: 512 questions, its answer and the opposite's to each."""
    world = load_world()
    pole, other = world.pole(name), world.opposite(name)
    examples = []
    for index in range(SIZE):
        prompt = question(world.axes[pole.axis], "train", random.Random(f"{pole.axis}/{index}"))
        reply = draw_answer(pole, random.Random(f"{pole.name}/{index}"), reserved=False)
        contrary = draw_answer(other, random.Random(f"{other.name}/{index}"), reserved=False)
        messages = (Message("user", prompt), Message("assistant", reply))
        examples.append(Example(messages, contrary, f"bundled {name} {index + 1}"))
    return Persona(name, tuple(examples), pole.description)
