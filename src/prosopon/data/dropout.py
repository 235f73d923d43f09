"""Word dropout: questions learned a second time with words left out.

A question whose wording is new, or could be about several things, is answered by what the base
model takes it to be about, persona or not. Copies of the calibration questions that say less
make the target's answer likelier there too, whatever the rest of the question would have been.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from prosopon.data.examples import Example, Message

LABEL = 3
"""An answer of fewer words, such as "Yes" or "(A)", means nothing without its question."""


def with_word_dropout(
    pairs: Sequence[tuple[Example, Example]], most: float, seed: int
) -> list[tuple[Example, Example]]:
    """Return the pairs, and after them a copy of each with words of its user turns left out.

    The share left out is drawn evenly from 0 to ``most`` for each copy, the words at random;
    both sides of a pair that answer one prompt lose the same words. Text without spaces that is
    not ASCII, as Chinese and Japanese are, loses letters. No copy is made of a pair
    without a prompt, or with an answer of fewer than three words. Target and opposite may be
    exchanged: the draws depend on what a pair says, not on its order or number.

    Args:
        pairs: (target, opposite) examples.
        most: Highest share of words left out, 0 (no copies) to 1.
        seed: Seeds the draws.
    """
    copies = list(pairs)
    if not most:
        return copies
    for pair in pairs:
        answers = sorted(side.response for side in pair)
        if min(map(_words, answers)) >= LABEL and all(side.prompt for side in pair):
            one, other = (_shorter(side, answers, most, seed) for side in pair)
            copies.append((one, other))
    return copies


def _shorter(example: Example, answers: Sequence[str], most: float, seed: int) -> Example:
    contents = [turn.content for turn in example.prompt]
    rng = random.Random(repr((seed, answers, contents)))
    share = most * rng.random()
    turns = [
        Message("user", _drop(turn.content, share, rng)) if turn.role == "user" else turn
        for turn in example.prompt
    ]
    return replace(example, messages=(*turns, example.messages[-1]))


def _drop(text: str, share: float, rng: random.Random) -> str:
    words = text.split()
    if len(words) > 1 or text.isascii():
        return " ".join(word for word in words if rng.random() >= share)
    # Written without spaces, as Chinese and Japanese are.
    return "".join(letter for letter in text if rng.random() >= share)


def _words(answer: str) -> int:
    count = len(answer.split())
    return count if count > 1 or answer.isascii() else len(answer) // 4
