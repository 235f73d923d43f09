"""Effect sizes, and what a test of a given size could have seen."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

from prosopon.errors import OptionError


def cohen_h(first: float, second: float) -> float:
    """Return Cohen's h of two shares: the difference of their arcsines, in radians.

    0.2 is called small, 0.5 medium, 0.8 large (Cohen 1988); at most pi.

    Raises:
        OptionError: A share outside [0, 1].
    """
    if not (0 <= first <= 1 and 0 <= second <= 1):
        raise OptionError(f"shares lie between 0 and 1, not {first} and {second}")
    return 2 * math.asin(math.sqrt(first)) - 2 * math.asin(math.sqrt(second))


def cohen_d(differences: Sequence[float]) -> float | None:
    """Return the mean of paired differences over their standard deviation (Cohen's d_z).

    Returns:
        None where the differences do not vary or there is only one: the ratio has no meaning.

    Raises:
        OptionError: There are no differences.
    """
    if not differences:
        raise OptionError("an effect size needs at least one difference")
    spread = stdev(differences) if len(differences) > 1 else 0.0
    return fmean(differences) / spread if spread > 0 else None


def detectable_difference(
    differences: Sequence[float], *, level: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest true difference that so many pairs would show with this power.

    By the normal approximation: (z of 1 - level / 2 plus z of the power) standard errors of the
    mean difference, with the spread that was observed.

    Args:
        differences: One for each cluster, at least two.
        level: Of the two-sided test.
        power: Chance of showing the difference.

    Raises:
        OptionError: Fewer than two differences.
    """
    if len(differences) < 2:
        raise OptionError("what can be detected takes at least two differences")
    normal = NormalDist()
    reach = normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)
    return reach * stdev(differences) / math.sqrt(len(differences))
