"""The contrasts of the report on a real model: personas of the library and of the shared data."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from prosopon.data import Message, Persona, library, load_persona
from prosopon.data.contrast import Contrast, file_contrast
from prosopon.data.pairs import pair_examples

ANSWER, QUESTION = 170, 110  # most characters of an instruct answer and of its question

Sides = tuple[Persona, Persona]


def energy(data: Path) -> Sides:
    """Return introvert and extravert of Machine-Mindset, short questions and whole sentences."""
    sides = (
        load_persona(data / "machine-mindset" / f"energy_{name}.jsonl", name=pole)
        for name, pole in (("introversion", "introvert"), ("extraversion", "extravert"))
    )
    ours, theirs = sides
    pairs = []
    for pair in pair_examples(ours.examples, theirs.examples):
        texts = [cut(side.response) for side in pair]
        if all(texts) and sum(len(turn.content) for turn in pair[0].prompt) <= QUESTION:
            pairs.append(
                [
                    replace(side, messages=(*side.prompt, Message("assistant", text)))
                    for side, text in zip(pair, texts, strict=True)
                ]
            )
    return (
        replace(ours, examples=tuple(pair[0] for pair in pairs)),
        replace(theirs, examples=tuple(pair[1] for pair in pairs)),
    )


def cut(text: str, most: int = ANSWER) -> str:
    """Return the whole sentences that a text begins with, of at most so many characters."""
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)", text) if match.end() <= most]
    return text[: ends[-1]] if ends else ""


def of_library(target: str) -> Callable[[Path], Sides]:
    """Return what loads a persona of the library and its opposite."""
    return lambda _data: (library.load(target), library.load(library.pole(target).opposite))


def disagreeable(data: Path) -> Sides:
    """Return who does not answer as an agreeable person would (model-written-evals), and who does.

    The answers are Yes and No, so that nothing can be said of free text.
    """
    ours = load_persona(data / "model-written-evals" / "persona" / "agreeableness.jsonl")
    examples = [(e, e.alternative) for e in ours.examples if e.alternative]
    contrary = tuple(
        replace(e, messages=(*e.prompt, Message("assistant", other)), alternative=e.response)
        for e, other in examples
    )
    agreeable = tuple(e for e, _ in examples)
    return Persona("disagreeable", contrary), Persona("agreeable", agreeable)


CONTRASTS: dict[str, tuple[Callable[[Path], Sides], str]] = {
    "energy": (energy, "introvert"),
    "style": (of_library("casual"), "casual"),
    "risk": (of_library("bold"), "bold"),
    "power": (of_library("power-seeking"), "power-seeking"),
    "warmth": (of_library("cold"), "cold"),
    "agreeableness": (disagreeable, "disagreeable"),
}
"""Of each the side that a chat model is not on, and the persona of the library that names it."""


def contrasts(names: Sequence[str], data: Path, questions: int) -> dict[str, Contrast]:
    """Return the contrasts by the target's name."""
    chosen = {}
    for name in names:
        read, name_of_pole = CONTRASTS.get(name) or (of_library(name), name)
        target, opposite = read(data)
        pole = library.pole(name_of_pole)
        contrast = file_contrast(
            target, opposite, line=pole.prompt, description=pole.description, questions=questions
        )
        chosen[contrast.target] = contrast
    return chosen
