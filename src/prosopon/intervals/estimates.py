"""Confidence intervals: of a share, of a mean over seeds, of a mean over clusters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from prosopon.errors import OptionError

LEVEL = 0.95
"""Confidence level of every interval."""

ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
DRAWS = 2000


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


def share_interval(successes: int, count: int) -> Interval:
    """Return a share with Wilson's score interval (Wilson 1927), which stays within [0, 1].

    Args:
        successes: How many of them.
        count: Of how many independent trials, at least 1.

    Raises:
        OptionError: ``count`` is less than 1, or ``successes`` is not between 0 and it.
    """
    if count < 1 or not 0 <= successes <= count:
        raise OptionError(f"a share of {successes} in {count} has no interval")
    from scipy.stats import binomtest

    interval = binomtest(successes, count).proportion_ci(LEVEL, method="wilson")
    return Interval(successes / count, float(interval.low), float(interval.high), count)


def mean_interval(values: Sequence[float]) -> Interval:
    """Return a mean with Student's t interval.

    A single value gives an infinite interval. Where every value lies in [0, 1] the values are
    taken for shares: the interval stays within [0, 1], and where all are 0, or all are 1, it is
    that of :func:`bootstrap_interval`, which has a width.

    Raises:
        OptionError: There are no values.
    """
    if not values:
        raise OptionError("the mean of no values has no interval")
    import numpy as np
    from scipy.stats import t

    count, mean, shares = len(values), float(np.mean(values)), are_shares(values)
    if count == 1 or (shares and mean in (0.0, 1.0)):
        return bootstrap_interval([[value] for value in values])
    spread = float(np.std(values, ddof=1)) / math.sqrt(count)
    reach = spread * float(t.ppf((1 + LEVEL) / 2, count - 1))
    least, most = (0.0, 1.0) if shares else (-math.inf, math.inf)
    return Interval(mean, max(mean - reach, least), min(mean + reach, most), count)


def bootstrap_interval(
    groups: Sequence[Sequence[float]], *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return the mean over groups of their means, with a bootstrap interval over whole groups.

    Values of one group (the seeds of one persona, the answers to one question) go together, so
    that what they share is not counted as evidence twice.

    Where every value lies in [0, 1] the values are taken for shares, and the bootstrap is the
    Bayesian one (Rubin 1981) with half a group at 0 and half a group at 1 beside the observed
    ones. For groups that are 0 or 1 throughout this is Jeffreys' interval of a share (Brown, Cai
    and DasGupta 2001): it stays within [0, 1] and keeps a width where all groups are alike.
    Otherwise it is the percentile bootstrap.

    Args:
        groups: Values by group; every group has at least one.
        draws: Resamples.
        seed: Seeds them.

    Raises:
        OptionError: There is no group, or an empty one.
    """
    if not groups or not all(len(group) for group in groups):
        raise OptionError("a bootstrap needs at least one group, and no empty one")
    import numpy as np

    means = [float(np.mean(group)) for group in groups]
    if not all(are_shares(group) for group in groups):
        return ratio_interval([(mean, 1.0) for mean in means], draws=draws, seed=seed)
    if len(means) == 1:
        return Interval(means[0], 0.0, 1.0, 1)
    return bounded_interval(means, (0.0, 1.0), draws=draws, seed=seed)


def bounded_interval(
    values: Sequence[float], bounds: tuple[float, float], *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return the mean of values between two bounds, by the Bayesian bootstrap.

    Half a value at each bound stands beside the observed ones, so that the interval keeps a width
    where all are alike; it never leaves the bounds.

    Args:
        values: At least one.
        bounds: The least and the largest that a value can be.
        draws: Draws of the weights.
        seed: Seeds them.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    weights = rng.dirichlet([*[1.0] * len(values), 0.5, 0.5], size=draws // 2)
    # Every draw also with the bounds exchanged: mirrored values have the mirrored interval.
    means = [
        weights @ np.append(np.asarray(values, dtype=float), ends)
        for ends in (bounds, bounds[::-1])
    ]
    low, high = map(float, np.quantile(means, ENDS))
    mean = float(np.mean(values))
    return Interval(mean, min(low, mean), max(high, mean), len(values))


def are_shares(values: Sequence[float]) -> bool:
    """Tell whether every value lies in [0, 1]."""
    return all(0 <= value <= 1 for value in values)


def ratio_interval(
    clusters: Sequence[tuple[float, float]], *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return a ratio of sums with a percentile bootstrap over whole clusters.

    The exp of the interval of (nats, tokens) is that of a perplexity in which every token weighs
    alike. A single cluster, which tells nothing of the spread, gives an infinite interval.

    Args:
        clusters: (numerator, denominator) of each cluster; denominators are above 0.
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
    low, high = np.quantile(above[picks].sum(axis=1) / below[picks].sum(axis=1), ENDS)
    return Interval(ratio, float(low), float(high), len(above))
