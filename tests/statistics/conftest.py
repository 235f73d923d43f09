"""Encoded random examples for tiny models."""

import random

import pytest

from prosopon.data import Encoded


def random_examples(count=13, *, vocab=250, seed=0, longest=24):
    """Encoded examples of mixed lengths; the scope is the second half."""
    rng = random.Random(seed)
    examples = []
    for _ in range(count):
        length = rng.randint(4, longest)
        half = rng.randint(1, length - 1)
        scope = [False] * half + [True] * (length - half)
        ids = [rng.randint(6, vocab) for _ in range(length)]
        examples.append(Encoded(ids, scope, scope))
    return examples


@pytest.fixture
def examples():
    return random_examples()
