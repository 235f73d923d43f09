"""Paired comparisons: two arms that were asked the same questions."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from prosopon.errors import OptionError
from prosopon.intervals.estimates import Interval, are_shares, bounded_interval, ratio_interval

EXACT = 12
"""Up to this many clusters that differ, every assignment of signs is tried."""

DRAWS = 10_000
TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Paired:
    """A difference between two arms over the same clusters.

    Attributes:
        difference: Weighted mean over clusters of first less second, with its bootstrap interval
            over whole clusters; infinite for one cluster.
        p: Two-sided p value of the sign-flip test.
    """

    difference: Interval
    p: float


def paired_difference(
    ours: Sequence[float],
    theirs: Sequence[float],
    weights: Sequence[float] | None = None,
    *,
    seed: int = 0,
) -> Paired:
    """Compare two arms, cluster by cluster.

    The interval of a difference of shares keeps a width where all clusters differ alike, see
    :func:`~prosopon.intervals.estimates.bounded_interval`.

    Args:
        ours: Value of every cluster (the mean of its questions) under the first arm.
        theirs: The same clusters in the same order under the second.
        weights: Of the clusters, for instance tokens; default all alike.
        seed: Seeds interval and test.

    Raises:
        OptionError: No cluster, lists of different length, or a weight that is not above 0.
    """
    shares = weights is None and len(ours) > 1 and are_shares([*ours, *theirs])
    weights = [1.0] * len(ours) if weights is None else weights
    if not len(ours) == len(theirs) == len(weights):
        raise OptionError(
            f"pairs need as many values on both sides: {len(ours)}, {len(theirs)} and "
            f"{len(weights)} weights"
        )
    gaps = [w * (a - b) for a, b, w in zip(ours, theirs, weights, strict=True)]
    if shares:
        interval = bounded_interval(gaps, (-1.0, 1.0), seed=seed)
    else:
        interval = ratio_interval(list(zip(gaps, weights, strict=True)), seed=seed)
    return Paired(interval, sign_flip_p(gaps, seed=seed))


def sign_flip_p(differences: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> float:
    """Return the two-sided p value of the sign-flip permutation test of a mean of 0.

    Under the hypothesis that both arms are alike, each cluster's difference is as likely with
    either sign (Fisher 1935). Up to 12 differences that are not 0 the test is exact; beyond, it
    draws assignments of signs and counts the observed one among them, so p is never 0 (Phipson
    and Smyth 2010).

    Args:
        differences: One for each cluster.
        draws: Assignments that are drawn where there are too many to try them all.
        seed: Seeds them.

    Returns:
        1.0 where no cluster differs.

    Raises:
        OptionError: There are no differences, or one is not finite.
    """
    import numpy as np

    values = np.asarray(differences, dtype=float)
    if not len(values) or not np.isfinite(values).all():
        raise OptionError("a sign-flip test needs at least one difference, and finite ones")
    values = values[values != 0]
    if not len(values):
        return 1.0
    observed = abs(float(values.sum())) * (1 - TOLERANCE)
    sizes, counts = np.unique(np.abs(values), return_counts=True)
    if len(values) <= EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(values))))
        return float((np.abs(signs @ values) >= observed).mean())
    # Differences of one size are exchangeable, so the number of plus signs among them is all that
    # matters: binomial. Shares have few sizes, which makes this far cheaper than single signs.
    plus = np.random.default_rng(seed).binomial(counts, 0.5, size=(draws, len(sizes)))
    sums = np.abs((2 * plus - counts) @ sizes)
    return (1 + int((sums >= observed).sum())) / (1 + draws)


def holm(values: Sequence[float]) -> list[float]:
    """Return p values adjusted for being many, in the same order (Holm 1979).

    Comparing them with a level bounds the chance of even one false rejection by that level,
    whatever the tests have to do with each other.

    Raises:
        OptionError: A value outside [0, 1].
    """
    if any(not 0 <= p <= 1 or math.isnan(p) for p in values):
        raise OptionError("p values lie between 0 and 1")
    adjusted, worst = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        worst = max(worst, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = worst
    return adjusted
