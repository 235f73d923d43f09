"""Where to cut every row of a matrix so that a given number of its entries is kept.

A partition of every row moves all of its numbers about; counting how many reach a guess only reads
them, several times faster, and a few guesses settle most rows.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHORT = 512  # numbers; shorter rows are partitioned at once
SAMPLE = 128  # numbers of a row whose order tells where to guess first
REACH = 2.0  # standard errors of the sample between the first guesses
GUESSES = 10
FEW = 0.6  # a smaller share of open rows is looked at alone

Floats = NDArray[Any]
Bools = NDArray[np.bool_]
Counts = NDArray[np.int32]


def row_thresholds(values: Floats, count: int) -> Floats:
    """Return [rows, 1]: numbers that exactly ``count`` of each row's numbers reach.

    Where equals leave no such number it is the ``count``-th largest, which more than ``count``
    reach.

    Args:
        values: [rows, columns], float32 or float64 without NaN.
        count: From 1 to columns.
    """
    if values.shape[1] < SHORT:
        return _partitioned(values, count)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite scores; no guess is trusted
        threshold, open_ = _guessed(values, count)
    if open_.any():
        threshold[open_] = _partitioned(values[open_], count)
    return threshold


def row_counts(flags: Bools) -> Counts:
    """Return [rows], int32: how many of each row's flags are True; ``flags`` is contiguous."""
    rows, columns = flags.shape
    bytes_ = flags.view(np.uint8)
    words, rest = divmod(columns, 8)
    if words and not rest:  # eight sums side by side in a word, of at most 128 flags each
        bytes_ = flags.view(np.uint64).reshape(rows, -1, math.gcd(words, 128)).sum(axis=2)
        bytes_ = bytes_.view(np.uint8)
    counts: Counts = bytes_.sum(axis=1, dtype=np.int32)
    return counts


def _guessed(values: Floats, count: int) -> tuple[Floats, Bools]:
    """Return thresholds [rows, 1], and the rows [rows] whose threshold is no answer yet.

    Regula falsi on how many reach a guess, between two numbers of a sample of the row.
    """
    columns = values.shape[1]
    sample = np.sort(values[:, :: columns // SAMPLE], axis=1)
    size = sample.shape[1]
    place = 1 - count / columns
    reach = REACH * math.sqrt(place * (1 - place) / size)
    low = sample[:, [max(int((place - reach) * size), 0)]]
    high = sample[:, [min(int((place + reach) * size) + 1, size - 1)]]

    threshold, open_ = low.copy(), np.ones(len(values), dtype=np.bool_)
    rows = np.arange(len(values))
    flags = np.empty(values.shape, dtype=np.bool_)

    def reaching(guess: Floats) -> Counts:
        return row_counts(np.greater_equal(values, guess, out=flags[: len(values)]))[:, None]

    more, fewer = reaching(low), reaching(high)
    for _ in range(GUESSES):
        share = (more - count) / np.maximum(more - fewer, 1)
        guess = low + (high - low) * share.astype(values.dtype)
        reached = reaching(guess)
        threshold[rows] = guess
        wrong = (reached != count)[:, 0]
        open_[rows] = wrong
        above = reached > count
        low, more = np.where(above, guess, low), np.where(above, reached, more)
        high, fewer = np.where(above, high, guess), np.where(above, fewer, reached)
        if wrong.sum() < FEW * len(rows):
            values, rows = values[wrong], rows[wrong]
            low, more, high, fewer = low[wrong], more[wrong], high[wrong], fewer[wrong]
        if not len(rows):
            break
    return threshold, open_


def _partitioned(values: Floats, count: int) -> Floats:
    place = values.shape[1] - count
    return np.partition(values, place, axis=1)[:, place : place + 1]
