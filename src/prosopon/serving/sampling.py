"""One token after another, drawn so that the rows beside cannot decide.

A row's scores differ by rounding between a crowded batch and the row alone. A draw is made from
one random generator a row, as the highest of the scores plus noise (Gumbel's trick: it draws by
the softmax). Where the lead is so small that rounding could decide, the draw is left open, and
the caller reads the row again alone: see :mod:`prosopon.serving.batch`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = 128
"""Most error of a score, in units of the precision at the largest score.

Measured between rows alone and in batches: 8 on the embedded model, 18 on SmolLM2-135M.
"""


def rounding_error(scores: Tensor, dtype: torch.dtype) -> float:
    """Return how far rounding may move a score of float64 [vocabulary], computed in ``dtype``."""
    largest = float(scores[scores.isfinite()].abs().max())
    return ROUNDING * torch.finfo(dtype).eps * largest


class Sampler:
    """Draws the tokens of one row.

    Args:
        temperature: 0 takes the highest score.
        top_p: Share of the probability that the likeliest tokens that may be drawn make up.
        seed: Seeds the row's own generator.
    """

    def __init__(self, temperature: float, top_p: float, seed: int) -> None:
        self.temperature, self.top_p = temperature, top_p
        self._draws = torch.Generator().manual_seed(seed)
        self._noise: Tensor | None = None

    def draw(self, scores: Tensor, error: float) -> int | None:
        """Return the next token; None where scores wrong by ``error`` each could change it.

        After None the same draw is made again, from better scores. An error of 0 always draws.

        Args:
            scores: float64 [vocabulary].
            error: How far a score may be from what it is for the row alone.
        """
        if self.temperature == 0:
            return _leader(scores, torch.ones_like(scores, dtype=torch.bool), error)
        if self._noise is None:
            waits = torch.empty(len(scores), dtype=torch.float64)
            self._noise = -waits.exponential_(generator=self._draws).log()
        scaled, error = (scores - scores.max()) / self.temperature, error / self.temperature
        certain, possible = nucleus(scaled, self.top_p, error)
        keys = (scaled + self._noise).masked_fill(~possible, -torch.inf)
        token = _leader(keys, certain, error)
        if token is not None:
            self._noise = None
        return token


def nucleus(scores: Tensor, top_p: float, error: float) -> tuple[Tensor, Tensor]:
    """Return which tokens are among the likeliest that make up ``top_p``: surely, and maybe.

    A token is in if the likelier ones together have less than ``top_p``. With an error of 0 both
    are the same, ties aside.

    Args:
        scores: float64 [vocabulary]; their softmax are the probabilities.
        top_p: In (0, 1].
        error: How far each score may be wrong.

    Returns:
        Two bool [vocabulary].
    """
    everything = torch.ones_like(scores, dtype=torch.bool)
    if top_p >= 1.0:
        return everything, everything
    ordered, order = scores.sort(descending=True, stable=True)
    mass = torch.cat([scores.new_zeros(1), ordered.softmax(0).cumsum(0)])
    if error == 0:
        inside = torch.zeros_like(everything).index_put((order,), mass[:-1] < top_p)
        return inside, inside
    falling = -ordered
    fewest = torch.searchsorted(falling, falling - 2 * error)  # surely likelier
    most = torch.searchsorted(falling, falling + 2 * error, right=True) - 1  # maybe likelier
    certain = torch.zeros_like(everything).index_put((order,), mass[most] < top_p - error)
    possible = torch.zeros_like(everything).index_put((order,), mass[fewest] < top_p + error)
    return certain, possible


def _leader(keys: Tensor, certain: Tensor, error: float) -> int | None:
    """Return the highest, unless it is in doubt."""
    (first, second), (token, _) = keys.topk(2)
    if error and (float(first - second) <= 2 * error or not certain[token]):
        return None
    return int(keys.argmax()) if not error else int(token)


class TokenChance(NamedTuple):
    """A written token, how likely it was, and the likeliest ones in its place."""

    token: int
    logprob: float  # natural logarithm of its probability at temperature 1
    top: tuple[tuple[int, float], ...]  # tokens with theirs, the likeliest first


def chance(scores: Tensor, token: int, count: int) -> TokenChance:
    """Return how likely a token was by float64 [vocabulary], and the ``count`` likeliest."""
    logs = scores.log_softmax(0)
    values, tokens = logs.topk(min(count, len(logs)))
    top = tuple(zip(map(int, tokens), map(float, values), strict=True))
    return TokenChance(token, float(logs[token]), top)
