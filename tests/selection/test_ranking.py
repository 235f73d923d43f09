from __future__ import annotations

from decimal import Decimal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.selection import keep_largest, keep_largest_per_row, kept_count, ranking


@given(total=st.integers(1, 10**10), percent=st.integers(1, 999))
def test_kept_count_is_the_decimal_floor(total, percent):
    asked = Decimal(percent) / 1000
    expected = int((1 - asked) * total)
    assert kept_count(total, float(asked)) == expected
    # A share that was itself computed carries a rounding error; it must not cost a weight.
    assert kept_count(total, 1 - (1 - float(asked))) == expected


@pytest.mark.parametrize(
    ("total", "sparsity", "kept"),
    [(10, 0.3, 7), (10, 0.7, 3), (3, 0.9, 0), (10, 0.9, 1), (10**9, 0.9, 10**8), (1, 0.5, 0)],
)
def test_kept_count_examples(total, sparsity, kept):
    """(1 - 0.9) * 10 is a hair below 1 in floating point, and a billion times as much far more."""
    assert kept_count(total, sparsity) == kept


@settings(deadline=None)
@given(data=st.data())
def test_every_count_from_none_to_all(data):
    values = data.draw(st.lists(st.integers(-3, 3), min_size=1, max_size=20))
    cut = data.draw(st.integers(0, len(values)))
    groups = [torch.tensor(values[:cut]).float(), torch.tensor(values[cut:]).float()]
    for count in range(len(values) + 1):
        order = sorted(range(len(values)), key=lambda index: (-values[index], index))
        expected = [index in order[:count] for index in range(len(values))]
        assert torch.cat(keep_largest(groups, count)).tolist() == expected
        row = torch.tensor([values]).float()
        assert keep_largest_per_row(row, count).tolist() == [expected]


def test_masks_of_growing_counts_are_nested():
    scores = torch.randn(8, 16, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    before = torch.zeros(8, 16, dtype=torch.bool)
    for count in range(0, 129, 8):
        (now,) = keep_largest([scores], count)
        assert int(now.sum()) == count
        assert not (before & ~now).any()
        before = now


def assert_nth_largest(values):
    ordered = values.sort(descending=True).values
    everything = torch.ones_like(values, dtype=torch.bool)
    for count in range(1, len(values) + 1):
        found = ranking._nth_largest_by_digits([values], [everything], count, values.dtype)
        assert found == ordered[count - 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_radix_search_finds_every_place_of_special_numbers(dtype):
    info = torch.finfo(dtype)
    values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        info.max,
        info.min,
        info.tiny,
        -info.tiny,
        torch.inf,
        -torch.inf,
    ]
    values = torch.tensor([*values, info.tiny / 2, -info.tiny / 2, 1 + info.eps], dtype=dtype)
    assert_nth_largest(values)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=6))
def test_radix_search_is_a_sort(values):
    assert_nth_largest(torch.tensor(values, dtype=torch.float64))


@pytest.mark.parametrize("count", [1, 150_000, 199_999])
def test_both_ways_to_the_threshold_agree_over_groups(count, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    groups = [torch.randn(400, 250, generator=generator).bfloat16() for _ in range(2)]
    ties = [torch.randint(3, (400, 250), generator=generator).float() for _ in range(2)]
    by_digits = keep_largest(groups, count, ties)
    monkeypatch.setattr(ranking, "_FEW", 1 << 30)
    for one, other in zip(keep_largest(groups, count, ties), by_digits, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neighbouring_floats_are_told_apart(dtype):
    base = torch.tensor([1.0, -1.0, 1e-30, -1e-30], dtype=dtype)
    above = torch.nextafter(base, torch.full_like(base, torch.inf))
    for low, high in zip(base, above, strict=True):
        (mask,) = keep_largest([torch.stack([low, high])], 1)
        assert mask.tolist() == [False, True]


def test_large_matrix_has_the_exact_threshold():
    scores = torch.randn(512, 512, generator=torch.Generator().manual_seed(0))
    (mask,) = keep_largest([scores], 100_000)
    assert int(mask.sum()) == 100_000
    assert scores[mask].min() > scores[~mask].max()
