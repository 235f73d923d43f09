"""Paired comparisons against closed forms, brute force, and their own error rates."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from prosopon.errors import OptionError
from prosopon.intervals import (
    bootstrap_interval,
    cohen_d,
    cohen_h,
    detectable_difference,
    holm,
    paired_difference,
    ratio_interval,
    sign_flip_p,
)


def test_exact_p_is_scipys():
    values = [0.3, -0.1, 0.9, 0.4, 0.25, -0.05, 0.6]
    found = permutation_test(
        (np.array(values), np.zeros(7)), lambda a, b: np.mean(a - b), permutation_type="samples",
        alternative="two-sided", n_resamples=np.inf, vectorized=False,
    )  # fmt: skip
    # SciPy doubles the smaller tail; the distribution is symmetric, so both agree.
    assert sign_flip_p(values) == pytest.approx(found.pvalue)


def test_many_wins_and_losses_are_the_sign_test():
    values = [1.0] * 40 + [-1.0] * 20 + [0.0] * 30
    assert sign_flip_p(values, draws=200_000) == pytest.approx(
        binomtest(40, 60).pvalue, rel=0.1, abs=1e-3
    )


def test_drawn_p_is_close_to_the_exact_one():
    values = list(np.random.default_rng(0).normal(0.4, 1, 14))
    sums = [abs(sum(s * v for s, v in zip(signs, values, strict=True)))
            for signs in itertools.product((-1, 1), repeat=14)]  # fmt: skip
    exact = np.mean([s >= abs(sum(values)) * (1 - 1e-12) for s in sums])
    assert sign_flip_p(values, draws=100_000) == pytest.approx(exact, abs=0.01)


def test_false_alarms_are_as_rare_as_said():
    rng = np.random.default_rng(1)
    alarms = sum(
        sign_flip_p(list(rng.normal(0, 1, 30)), draws=499, seed=i) <= 0.05 for i in range(400)
    )
    assert 8 <= alarms <= 34  # 20 expected


@pytest.mark.parametrize("values", [[0.0], [0.0] * 50])
def test_no_difference(values):
    assert sign_flip_p(values) == 1


def test_one_cluster_proves_nothing():
    found = paired_difference([1.0], [0.0])
    assert found.p == 1
    assert (found.difference.mean, found.difference.half_width) == (1, math.inf)


def test_all_alike_and_never_zero():
    found = paired_difference([1.0] * 60, [0.0] * 60)
    assert (found.difference.mean, found.difference.high) == (1, 1)
    assert 0.9 < found.difference.low < 1
    assert 0 < found.p < 2e-4


def test_exchanging_the_arms_changes_the_sign_only():
    rng = np.random.default_rng(2)
    ours, theirs = rng.random(30), rng.random(30)
    one, other = paired_difference(ours, theirs), paired_difference(theirs, ours)
    assert one.p == other.p
    assert one.difference.mean == pytest.approx(-other.difference.mean)
    assert one.difference.low == pytest.approx(-other.difference.high)


def test_weights_are_those_of_a_ratio_of_sums():
    found = paired_difference([2.0, 4.0], [1.0, 1.0], [1.0, 3.0])
    assert found.difference.mean == (1 * 1 + 3 * 3) / 4


def test_a_ratio_of_sums():
    pairs = [(2.0, 1.0), (9.0, 3.0), (4.0, 4.0)]
    assert ratio_interval(pairs).mean == 15 / 8
    values = list(3 * np.random.default_rng(3).random(50))
    same = ratio_interval([(v, 1.0) for v in values])
    means = bootstrap_interval([[v] for v in values])
    assert (same.mean, same.low, same.high) == pytest.approx((means.mean, means.low, means.high))
    assert ratio_interval([(3.0, 2.0)]).half_width == math.inf


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # by hand: 3 x .01; max(2 x .03, 1 x .04)
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
        # R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),
    ],
)
def test_holm(given, wanted):
    assert holm(given) == pytest.approx(wanted)


def test_holm_bounds_the_chance_of_any_false_rejection():
    rng = np.random.default_rng(4)
    wrong = sum(min(holm(list(rng.random(20)))) <= 0.05 for _ in range(1000))
    assert 25 <= wrong <= 75


def test_effect_sizes():
    assert cohen_h(1, 0) == pytest.approx(math.pi)
    assert cohen_h(0.5, 0.5) == 0
    assert cohen_h(0.65, 0.5) == pytest.approx(0.3047, abs=1e-4)  # 1.8755 - 1.5708
    assert cohen_d([1.0, 2.0, 3.0]) == 2
    assert cohen_d([0.4, 0.4]) is None
    assert cohen_d([0.4]) is None


def test_what_can_be_detected_is_detected_that_often():
    rng = np.random.default_rng(5)
    spread = rng.normal(0, 1, 40)
    reach = detectable_difference(list(spread))
    assert reach == pytest.approx(2.8016 * np.std(spread, ddof=1) / math.sqrt(40), rel=1e-4)
    shown = sum(
        sign_flip_p(list(rng.normal(reach, np.std(spread, ddof=1), 40)), draws=499) <= 0.05
        for _ in range(200)
    )
    assert 140 <= shown <= 180


@pytest.mark.parametrize(
    "call",
    [
        lambda: sign_flip_p([]),
        lambda: sign_flip_p([math.nan]),
        lambda: paired_difference([], []),
        lambda: paired_difference([1.0], []),
        lambda: paired_difference([1.0], [1.0], [0.0]),
        lambda: ratio_interval([]),
        lambda: holm([1.2]),
        lambda: cohen_h(2, 0),
        lambda: cohen_d([]),
        lambda: detectable_difference([1.0]),
    ],
)
def test_nothing_to_compare(call):
    with pytest.raises(OptionError):
        call()


@pytest.mark.parametrize("gap", [-1.0, 0.0, 1.0])
def test_a_difference_of_shares_that_is_everywhere_the_same_leaves_doubt(gap):
    ours, theirs = [max(gap, 0.0)] * 25, [max(-gap, 0.0)] * 25
    found = paired_difference(ours, theirs).difference
    assert found.mean == gap
    assert -1 <= found.low <= gap <= found.high <= 1
    assert 0.05 < found.high - found.low < 0.3
