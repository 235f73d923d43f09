"""Intervals against closed forms, and their coverage on simulated data."""

import itertools
import math
import statistics

import numpy as np
import pytest
from scipy.stats import beta, ttest_1samp

from prosopon.errors import OptionError
from prosopon.intervals import bootstrap_interval, mean_interval, ratio_interval, share_interval
from prosopon.intervals.estimates import bounded_interval


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
    found = interval([2.5])
    assert (found.mean, found.low, found.high) == (2.5, -math.inf, math.inf)
    assert found.half_width == math.inf
    share = interval([0.4])
    assert (share.mean, share.low, share.high) == (0.4, 0, 1)


@pytest.mark.parametrize("count", [5, 60])
@pytest.mark.parametrize("successes", [0, 1, 3, 5])
def test_shares_of_single_answers_have_jeffreys_interval(successes, count):
    groups = [[1.0]] * successes + [[0.0]] * (count - successes)
    found = bootstrap_interval(groups, draws=40_000)
    ends = beta(successes + 0.5, count - successes + 0.5).ppf([0.025, 0.975])
    expected = 0 if successes == 0 else ends[0], 1 if successes == count else ends[1]
    assert (found.low, found.high) == pytest.approx(expected, abs=0.01)
    assert found.mean == successes / count


def test_groups_that_are_alike_still_leave_doubt():
    for share in (0.0, 1.0):
        found = bootstrap_interval([[share] * 3] * 20)
        assert found.mean == share
        assert 0.05 < found.high - found.low < 0.2
        assert 0 <= found.low <= found.high <= 1
        assert mean_interval([share] * 20) == bootstrap_interval([[share]] * 20)
    more = bootstrap_interval([[1.0]] * 200)
    assert more.low > bootstrap_interval([[1.0]] * 20).low


def test_shares_stay_within_their_bounds():
    two_seeds = mean_interval([0.9, 1.0])
    assert (two_seeds.low, two_seeds.high) == (pytest.approx(0.3147, abs=1e-3), 1)
    beyond = mean_interval([0.9, 1.3])  # no shares: nothing is cut off
    assert beyond.low < 0
    assert beyond.high > 2


def test_intervals_of_shares_cover():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        centres = rng.beta(18, 2, 30)  # the mean is 0.9
        groups = [list(rng.binomial(1, centre, 4).astype(float)) for centre in centres]
        found = bootstrap_interval(groups, draws=400, seed=trial)
        hits += found.low <= 0.9 <= found.high
    assert 275 <= hits <= 298


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


@pytest.mark.parametrize(("successes", "count"), [(0, 1), (7, 20), (20, 20)])
def test_successes_and_failures_exchanged_mirror_a_share(successes, count):
    interval, other = share_interval(successes, count), share_interval(count - successes, count)
    ends = 1 - other.high, 1 - other.low
    assert (interval.low, interval.high) == pytest.approx(ends, abs=1e-12)
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1


def test_means_are_student_s():
    values = [1.5, -2.0, 4.0, 0.25]
    interval = mean_interval(values)
    expected = ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.count == 4


def test_a_bootstrap_comes_close_to_every_resample_there_is():
    clusters = [(1.0, 2.0), (5.0, 1.0), (-3.0, 4.0), (2.0, 2.0)]
    ratios = [
        sum(above for above, _ in drawn) / sum(below for _, below in drawn)
        for drawn in itertools.product(clusters, repeat=4)
    ]
    interval = ratio_interval(clusters, draws=20_000)
    for end, place in ((interval.low, 0.025), (interval.high, 0.975)):
        near = np.quantile(ratios, [place - 0.01, place + 0.01])
        assert near[0] <= end <= near[1]
    again = ratio_interval(clusters[::-1], draws=20_000, seed=1)
    assert again.mean == interval.mean == 5 / 9
    assert again.low == pytest.approx(interval.low, abs=0.1)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0)])
def test_bounded_intervals_stay_within_and_mirror(bounds):
    low, high = bounds
    values = [low, low, 0.25, high, 0.5]
    interval = bounded_interval(values, bounds)
    mirrored = bounded_interval([low + high - value for value in values], bounds)
    assert low < interval.low < interval.mean < interval.high < high
    assert (low + high - mirrored.high) == pytest.approx(interval.low, abs=1e-9)
    assert (low + high - mirrored.low) == pytest.approx(interval.high, abs=1e-9)
    assert bounded_interval([high] * 4, bounds).high == high
