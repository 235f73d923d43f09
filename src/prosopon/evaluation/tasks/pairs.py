"""The test part of a contrast as questions with a matching and an opposite answer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from prosopon.data import Example, Message
from prosopon.data.openings import answer, shared_opening
from prosopon.data.pairs import pair_examples
from prosopon.errors import DataError
from prosopon.evaluation.contrast import Contrast
from prosopon.evaluation.speaking import Prompt, as_text


@dataclass(frozen=True)
class Pairing:
    """A question with both answers.

    Attributes:
        question: Its id: the same for the same prompt and answers, whichever side is the target.
        prompt: What is asked; the shared beginning of two plain texts.
        matching: The target's answer.
        other: The opposite's.
    """

    question: str
    prompt: Prompt
    matching: str
    other: str


def pairings(contrast: Contrast, count: int | None = None) -> list[Pairing]:
    """Return the test questions, at most ``count``; every id once.

    An example that gives its own alternative is a question by itself; others are paired with the
    opposite's answer to the same prompt, or in order where no prompts are shared.

    Raises:
        DataError: There is none.
    """
    target, opposite = contrast.test
    if all(example.alternative for example in target.examples):
        asked = [_own(example) for example in target.examples]
    else:
        pairs = pair_examples(target.examples, opposite.examples)
        asked = [_paired(ours, theirs) for ours, theirs in pairs]
    found = list({each.question: each for each in asked}.values())[:count]
    if not found:
        raise DataError(f"{contrast.target}: there is no test question")
    return found


def _own(example: Example) -> Pairing:
    assert example.alternative is not None
    return _paired(example, example.swapped())


def _paired(ours: Example, theirs: Example) -> Pairing:
    prompt, beginning = ours.prompt, shared_opening(ours, theirs)
    if beginning:
        prompt = (Message("assistant", beginning),)
    matching, other = answer(ours, beginning), answer(theirs, beginning)
    told = "\0".join([as_text(prompt), *sorted((matching, other))])
    return Pairing(hashlib.sha256(told.encode()).hexdigest()[:12], prompt, matching, other)
