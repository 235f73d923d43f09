"""Intervals against closed forms, and their coverage on simulated data."""

import math
import statistics

import numpy as np
import pytest

from prosopon.errors import OptionError
from prosopon.intervals import bootstrap_interval, mean_interval, share_interval


@pytest.mark.parametrize(("successes", "count"), [(0, 10), (3, 10), (10, 10), (190, 200)])
def test_wilson_in_closed_form(successes, count):
    z = statistics.NormalDist().inv_cdf(0.975)
    share = successes / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count)
    reach *= math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    found = share_interval(successes, count)
    assert found.mean == share
    assert (found.low, found.high) == pytest.approx((centre - reach, centre + reach), abs=1e-9)


def test_t_from_a_table():
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize("interval", [mean_interval, lambda v: bootstrap_interval([v])])
def test_one_value_tells_nothing_of_the_spread(interval):
    found = interval([0.4])
    assert (found.mean, found.low, found.high) == (0.4, -math.inf, math.inf)
    assert found.half_width == math.inf


def test_bootstrap_covers_and_goes_by_groups():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        centres = rng.normal(0, 1, 20)
        groups = [list(centre + rng.normal(0, 0.1, 5)) for centre in centres]
        found = bootstrap_interval(groups, draws=500, seed=trial)
        hits += found.low <= 0 <= found.high
    assert 175 <= hits <= 198
    same = bootstrap_interval([[1.0, 3.0], [2.0]])
    assert (same.low, same.mean, same.high) == (2, 2, 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: share_interval(0, 0),
        lambda: share_interval(4, 3),
        lambda: mean_interval([]),
        lambda: bootstrap_interval([]),
        lambda: bootstrap_interval([[1.0], []]),
    ],
)
def test_nothing_to_estimate(call):
    with pytest.raises(OptionError):
        call()
