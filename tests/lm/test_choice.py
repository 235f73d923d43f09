"""The one rule of winning."""

import math

import pytest

from prosopon.errors import ModelError
from prosopon.lm.choice import win_margin, win_rate, win_share


@pytest.mark.parametrize(
    ("scores", "shares"),
    [
        ((1.0, 0.0), (1, 0)),
        ((-3.0, -3.0), (0.5, 0.5)),
        ((2.0, 1.0, 2.0, 2.0), (1 / 3, 0, 1 / 3, 1 / 3)),
        ((-math.inf, -7.0), (0, 1)),
        ((-math.inf, -math.inf), (0.5, 0.5)),
    ],
)
def test_wins_and_ties(scores, shares):
    found = [win_share(scores, option) for option in range(len(scores))]
    assert found == pytest.approx(shares)
    assert sum(found) == pytest.approx(1)


@pytest.mark.parametrize("option", [0, 1])
def test_nothing_wins_against_nan(option):
    with pytest.raises(ModelError, match="NaN"):
        win_share((math.nan, 1.0), option)


def test_a_margin_is_against_the_best_other():
    assert win_margin((1.0, 3.0, 2.0), 1) == 1
    assert win_margin((1.0, 3.0, 2.0), 0) == -2
    assert win_margin((1.0, 3.0, 2.0), 2) == -1
    assert win_margin((3.0, 1.0, 2.0), 2) == -1  # also one that comes before


def test_a_rate_is_the_mean_of_the_first_options_wins():
    assert win_rate([(1.0, 0.0), (0.0, 0.0), (0.0, 1.0), (2.0, 1.0)]) == 0.625
