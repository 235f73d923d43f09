"""Confidence intervals: of a share, of a mean over seeds, of a mean over clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from prosopon.errors import OptionError

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        mean: The estimate.
        low: Lower end.
        high: Upper end.
        count: How many independent values it rests on.
    """

    mean: float
    low: float
    high: float
    count: int

    @property
    def half_width(self) -> float:
        """Half the interval's length; infinite where one value tells nothing of the spread."""
        return (self.high - self.low) / 2


def share_interval(successes: int, count: int, *, level: float = LEVEL) -> Interval:
    """Return a share with Wilson's score interval (Wilson 1927), which stays within [0, 1].

    Args:
        successes: How many of them.
        count: Of how many independent trials, at least 1.
        level: Confidence level.

    Raises:
        OptionError: ``count`` is less than 1, or ``successes`` is not between 0 and it.
    """
    if count < 1 or not 0 <= successes <= count:
        raise OptionError(f"a share of {successes} in {count} has no interval")
    from scipy.stats import binomtest

    found = binomtest(successes, count).proportion_ci(level, method="wilson")
    return Interval(successes / count, float(found.low), float(found.high), count)


def mean_interval(values: Sequence[float], *, level: float = LEVEL) -> Interval:
    """Return a mean with Student's t interval; a single value gives an infinite interval.

    Raises:
        OptionError: There are no values.
    """
    if not values:
        raise OptionError("the mean of no values has no interval")
    import numpy as np
    from scipy.stats import t

    count, mean = len(values), float(np.mean(values))
    if count == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    spread = float(np.std(values, ddof=1)) / math.sqrt(count)
    reach = spread * float(t.ppf((1 + level) / 2, count - 1))
    return Interval(mean, mean - reach, mean + reach, count)


def bootstrap_interval(
    groups: Sequence[Sequence[float]], *, level: float = LEVEL, draws: int = 2000, seed: int = 0
) -> Interval:
    """Return the mean over groups of their means, with a percentile bootstrap over whole groups.

    Values of one group (the seeds of one persona, the questions of one dialogue) go together, so
    that what they share is not counted as evidence twice.

    Args:
        groups: Values by group; every group has at least one.
        level: Confidence level.
        draws: Resamples.
        seed: Seeds them.

    Raises:
        OptionError: There is no group, or an empty one.
    """
    if not groups or not all(len(group) for group in groups):
        raise OptionError("a bootstrap needs at least one group, and no empty one")
    import numpy as np

    means = np.array([float(np.mean(group)) for group in groups])
    if len(means) == 1:
        return Interval(float(means[0]), -math.inf, math.inf, 1)
    picks = np.random.default_rng(seed).integers(len(means), size=(draws, len(means)))
    low, high = np.quantile(means[picks].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(means.mean()), float(low), float(high), len(means))


def ratio_interval(
    clusters: Sequence[tuple[float, float]],
    *,
    level: float = LEVEL,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a ratio of sums with a percentile bootstrap over whole clusters.

    The exp of the interval of (nats, tokens) is that of a perplexity in which every token weighs
    alike.

    Args:
        clusters: (numerator, denominator) of each cluster; denominators are above 0.
        level: Confidence level.
        draws: Resamples.
        seed: Seeds them.

    Raises:
        OptionError: There is no cluster, or a denominator is not above 0.
    """
    if not clusters or any(not below > 0 for _, below in clusters):
        raise OptionError("a ratio of sums needs at least one cluster, and denominators above 0")
    import numpy as np

    above, below = np.array(clusters, dtype=float).T
    ratio = float(above.sum() / below.sum())
    if len(above) == 1:
        return Interval(ratio, -math.inf, math.inf, 1)
    picks = np.random.default_rng(seed).integers(len(above), size=(draws, len(above)))
    drawn = above[picks].sum(axis=1) / below[picks].sum(axis=1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(ratio, float(low), float(high), len(above))
