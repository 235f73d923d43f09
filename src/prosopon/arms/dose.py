"""A dose: the largest scale at which an arm costs general text no more than is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from prosopon.arms.base import Lab
from prosopon.lm import text_losses

LEAST, MOST = 0.01, 8.0  # scales between which the dose is looked for
TRIES = 10

Wear = Callable[[float], AbstractContextManager[Any]]
"""From a scale to a context in which the arm is worn at it."""


def largest_scale(lab: Lab, wear: Wear, limit: float) -> tuple[float, float]:
    """Return the largest scale within a rise of loss, and the rise.

    The rise is that of general text which neither the arm nor the result's measures read, nats a
    token. The search halves the distance of the scales' logarithms. Where even the least scale is
    beyond the limit, that one is returned.

    Args:
        lab: Holds the model, its texts and who is told of progress.
        wear: Wears the arm at a scale.
        limit: Nats a token.
    """
    texts, size = lab.extractor.held_out(), lab.extractor.max_tokens

    def loss() -> float:
        total, tokens = text_losses(lab.model, texts, every=True, max_tokens=size)
        return total / tokens

    def rise(scale: float) -> float:
        with wear(scale):
            return loss() - base

    base = loss()
    best, cost = MOST, rise(MOST)
    if cost <= limit:
        return best, cost
    low, high = LEAST, MOST
    best, cost = LEAST, rise(LEAST)
    for _ in range(TRIES):
        middle = math.sqrt(low * high)
        if (now := rise(middle)) <= limit:
            low, best, cost = middle, middle, now
        else:
            high = middle
    return best, cost
