"""What a pattern says of shares and shapes before any score is seen."""

import math

import pytest
import torch

from prosopon.errors import OptionError, UnknownNameError
from prosopon.selection import PATTERNS, Scored, find_pattern, n_of_m, select


def test_a_free_share_is_what_is_asked_or_the_default():
    row = PATTERNS.get("row")
    assert (row.share(0.4), row.share(0.4, 0.3), row.share(None, 0.3)) == (0.4, 0.4, 0.3)
    with pytest.raises(OptionError, match="pattern 'row' needs a sparsity between 0 and 1"):
        row.share(None)


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (7, 8), (1, 3)])
def test_a_fixed_share_is_taken_whatever_the_default(n, m):
    pattern = n_of_m(n, m)
    share = 1 - n / m
    assert pattern.share(None, 0.3) == pattern.share(share) == share
    assert pattern.share(share + 1e-8) == share  # as a command line rounds it
    with pytest.raises(OptionError, match=rf"disagrees with pattern '{n}:{m}'"):
        pattern.share(share * 0.9)
    pattern.check_shape("a", (3, 2 * m))
    with pytest.raises(OptionError, match=rf"divisible by {m}; site 'a' has {2 * m - 1}"):
        pattern.check_shape("a", (m, 2 * m - 1))


@pytest.mark.parametrize("sparsity", [0, 1, -1, 2, math.nan])
def test_no_pattern_takes_a_share_outside(sparsity):
    for pattern in PATTERNS.names():
        with pytest.raises(OptionError, match="must lie between 0 and 1, both excluded"):
            PATTERNS.get(pattern).share(sparsity)


def test_names_of_n_of_m():
    assert find_pattern("2:4") is PATTERNS.get("2:4")
    assert find_pattern(" 3:5 ").name == "3:5"
    for name in ("0:4", "4:4", "5:4"):
        with pytest.raises(OptionError, match="some of every 4 weights and not all"):
            find_pattern(name)
    for name in ("2:4:8", ":4", "two:four", ""):
        with pytest.raises(UnknownNameError):
            find_pattern(name)


@pytest.mark.parametrize("pattern", ["row", "site", "global"])
def test_one_row_is_the_same_for_all_patterns_of_weights(pattern):
    scores = torch.tensor([[3.0, -math.inf, 1.0, math.inf, 1.0]])
    mask = select([Scored("a", scores)], 0.5, pattern=pattern)["a"]
    assert mask.tolist() == [[True, False, False, True, False]]
