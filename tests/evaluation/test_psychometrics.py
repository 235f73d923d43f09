"""Scores and reliability against values worked out by hand and a slow oracle."""

import random

import numpy as np
import pytest

from prosopon.errors import DataError
from prosopon.evaluation.psychometrics import acquiescence, cronbach_alpha, keyed, letter, score


def test_reverse_keys_are_turned():
    assert keyed([1.0, 1.0, -0.5], [1, -1, -1]) == [1.0, -1.0, 0.5]
    assert score([1.0, -1.0], [1, -1]) == 1
    assert score([1.0, 1.0], [1, -1]) == 0
    assert acquiescence([1.0, 1.0]) == 1


def test_alpha_by_hand():
    # Items have variances 1 and 1, sums 2, 4, 6 have variance 4: 2 * (1 - 2/4) = 1.
    assert cronbach_alpha([(1, 1), (2, 2), (3, 3)]) == pytest.approx(1)
    # Variances 1 and 1/3; sums 1, 3, 4: variance 7/3: 2 * (1 - (4/3)/(7/3)) = 6/7.
    assert cronbach_alpha([(1, 0), (2, 1), (3, 1)]) == pytest.approx(6 / 7)


def oracle(rows):
    """Alpha by the covariance matrix: k/(k-1) * (1 - trace / sum of all entries)."""
    covariance = np.cov(np.array(rows).T)
    k = len(covariance)
    return k / (k - 1) * (1 - np.trace(covariance) / covariance.sum())


@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_the_covariance_s(seed):
    rng = random.Random(seed)
    rows = [[rng.uniform(-1, 1) for _ in range(6)] for _ in range(9)]
    assert cronbach_alpha(rows) == pytest.approx(oracle(rows))


def test_items_that_contradict_each_other_give_a_negative_alpha():
    assert cronbach_alpha([(1.0, -0.5), (-1.0, 0.5), (0.0, 0.0)]) < 0


@pytest.mark.parametrize("rows", [[], [(1, 2)], [(1,), (2,)], [(1, -1), (-1, 1)], [(1, 1)] * 3])
def test_where_alpha_is_not_defined(rows):
    assert cronbach_alpha(rows) is None


def test_letters():
    assert [letter(v, ("E", "I")) for v in (0.2, -0.2, 0.0)] == ["E", "I", "x"]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: keyed([1.0], [1, 1]), "1 answers to 2 items"),
        (lambda: keyed([1.0], [2]), "1 or -1"),
        (lambda: score([], []), "no score"),
        (lambda: acquiescence([]), "no answers"),
        (lambda: cronbach_alpha([(1,), (1, 2)]), "different numbers"),
    ],
)
def test_what_cannot_be(call, told):
    with pytest.raises(DataError, match=told):
        call()
