"""Personas of a few words, and one extraction with ``--sparsity auto`` that several tests read."""

import random

import pytest

from prosopon.data import Example, Message, Persona
from prosopon.extraction import Extractor
from prosopon.judges import ClassifierJudge
from tests.tiny import tiny_model


def answers(name, words, count=24):
    """A persona of questions and answers, six of its words each."""
    rng = random.Random(0)
    rows = [
        Example(
            (Message("user", f"q {i}?"), Message("assistant", " ".join(rng.choices(words, k=6))))
        )
        for i in range(count)
    ]
    return Persona(name, tuple(rows))


def texts(word, count=24):
    """Plain texts: an opening and a word of the persona's."""
    return Persona(
        word,
        tuple(
            Example((Message("assistant", f"My day {i} is long and I feel {word} {i % 9}."),))
            for i in range(count)
        ),
    )


WARM = answers("warm", ("the", "people", "is", "thing"))
COLD = answers("cold", ("and", "Yes", "No", "band"))


@pytest.fixture(scope="session")
def tiny():
    """Return a function that extracts WARM against COLD from a tiny model, with settings."""
    model, tokenizer = tiny_model("llama", chat=True)

    def extract(target=WARM, opposite=COLD, *, settings=None, **request):
        settings = {"general": texts("well", 12), "name": "tiny"} | (settings or {})
        return Extractor(model, tokenizer, **settings).extract(target, opposite, **request)

    extract.loaded = model, tokenizer
    return extract


class Reads(ClassifierJudge):
    """Takes everything for language, but what it is told is none."""

    none = ()

    def reads(self, texts, prompts=()):
        return [text not in self.none for text in texts]
