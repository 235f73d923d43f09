from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prosopon.runtime.positions import Positions, read, write
from tests.subnetwork.making import bool_matrices


def flat(mask):
    return [index for index, kept in enumerate(mask.flatten().tolist()) if not kept]


@given(keep=bool_matrices(rows=8, columns=60), data=st.data())
def test_is_the_set_of_pruned_positions(keep, data):
    positions = Positions(keep)
    expected = flat(keep)
    assert positions.indices().tolist() == expected
    assert positions.indices().dtype == torch.int64
    assert len(positions) == len(expected)
    asked = data.draw(st.lists(st.integers(0, keep.numel() - 1)))
    found = positions.contains(torch.tensor(asked, dtype=torch.int64))
    assert found.dtype == torch.bool
    assert found.tolist() == [index in expected for index in asked]


@pytest.mark.parametrize("share", [0.0, 0.002, 0.03, 0.032, 0.3, 1.0])
def test_takes_the_smaller_form(share):
    keep = torch.rand(100, 80, generator=torch.Generator().manual_seed(0)) >= share
    positions = Positions(keep)
    assert positions.nbytes <= min(4 * len(positions), keep.numel() // 8)
    assert positions.indices().tolist() == flat(keep)
    everything = torch.arange(keep.numel())
    assert torch.equal(positions.contains(everything), ~keep.flatten())


@pytest.mark.parametrize("turned", [False, True])
def test_reads_and_writes_row_major_positions_of_any_layout(turned):
    stored = torch.arange(12.0).view(4, 3)
    matrix = stored.T if turned else stored
    expected = matrix.contiguous().clone()
    indices = torch.tensor([1, 5, 11])
    assert torch.equal(read(matrix, indices), expected.view(-1)[indices])
    write(matrix, indices, torch.tensor([-1.0, -2.0, -3.0]))
    expected.view(-1)[indices] = torch.tensor([-1.0, -2.0, -3.0])
    assert torch.equal(matrix, expected)
    assert stored.data_ptr() == matrix.data_ptr()


def test_reading_copies():
    matrix = torch.ones(2, 2)
    values = read(matrix, torch.arange(4))
    matrix.zero_()
    assert values.tolist() == [1, 1, 1, 1]
