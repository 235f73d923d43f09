"""Thresholds of rows against a sort, on what guesses find and on what only a partition does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prosopon.selection import thresholds
from prosopon.selection.thresholds import row_counts, row_thresholds

RNG = np.random.default_rng(0)
LONG = thresholds.SHORT + 89
KINDS = {
    "normal": RNG.standard_normal((30, LONG)),
    "heavy tails": RNG.standard_cauchy((30, LONG)) ** 3,
    "tiny": RNG.random((30, LONG)) * 1e-42,
    "huge": RNG.standard_normal((30, LONG)) * 3e38,
    "infinite": np.where(RNG.random((30, LONG)) < 0.4, -np.inf, RNG.standard_normal((30, LONG))),
    "both infinities": np.where(RNG.random((30, LONG)) < 0.5, -np.inf, np.inf),
    "few values": RNG.integers(0, 5, (30, LONG)).astype(float),
    "one value": np.ones((30, LONG)),
    "sorted": np.arange(30.0 * LONG).reshape(30, LONG),
    "mixed rows": RNG.standard_normal((30, LONG)) * 10.0 ** RNG.integers(-20, 20, (30, 1)),
    "short": RNG.standard_normal((30, 40)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_as_many_reach_it_as_should(kind, dtype):
    with np.errstate(over="ignore"):
        values = KINDS[kind].astype(dtype)
    columns = values.shape[1]
    for count in (1, 2, columns // 3, columns // 2, columns - 1, columns):
        found = row_thresholds(values, count)
        assert found.shape == (len(values), 1)
        assert found.dtype == dtype
        largest = -np.sort(-values, axis=1)[:, count - 1 : count]
        # The same numbers are kept as by the count-th largest itself, equals of it included.
        np.testing.assert_array_equal(values >= found, values >= largest)


def test_guesses_settle_most_rows_of_scores():
    scores = np.abs(RNG.standard_normal((200, 2048))) * RNG.random((1, 2048))
    _, open_ = thresholds._guessed(scores.astype(np.float32), 1434)
    assert open_.mean() < 0.1


@given(st.integers(1, 6), st.integers(1, 1500), st.floats(0, 1), st.integers(0, 9))
def test_counts(rows, columns, share, seed):
    flags = np.random.default_rng(seed).random((rows, columns)) < share
    assert row_counts(flags).tolist() == [sum(row) for row in flags.tolist()]


@pytest.mark.parametrize("columns", [8, 1024, 2040, 4096, 11008])
def test_counts_where_all_are_true(columns):
    """Sums of bytes inside words must not run over."""
    assert row_counts(np.ones((3, columns), dtype=bool)).tolist() == [columns] * 3
