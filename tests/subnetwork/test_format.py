from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prosopon.errors import SubnetworkError
from prosopon.subnetwork import pack_rows, unpack_rows
from tests.subnetwork.samples import bool_matrices


@given(bool_matrices())
def test_unpacking_undoes_packing(keep):
    packed = pack_rows(keep)
    assert packed.dtype == torch.uint8
    assert packed.shape == (keep.shape[0], (keep.shape[1] + 7) // 8)
    assert torch.equal(unpack_rows(packed, keep.shape[1]), keep)


@given(bool_matrices())
def test_packing_is_the_obvious_sum_of_powers(keep):
    expected = torch.zeros(keep.shape[0], (keep.shape[1] + 7) // 8, dtype=torch.uint8)
    for i, j in keep.nonzero().tolist():
        expected[i, j // 8] += 128 >> (j % 8)
    assert torch.equal(pack_rows(keep), expected)


@given(data=st.data(), rows=st.integers(1, 4), columns=st.integers(1, 20))
def test_packing_undoes_unpacking_or_the_padding_is_refused(data, rows, columns):
    width = (columns + 7) // 8
    values = data.draw(st.lists(st.integers(0, 255), min_size=rows * width, max_size=rows * width))
    packed = torch.tensor(values, dtype=torch.uint8).view(rows, width)
    padding = (1 << (8 * width - columns)) - 1
    if any(int(value) & padding for value in packed[:, -1]):
        with pytest.raises(SubnetworkError, match=f"beyond its {columns} columns"):
            unpack_rows(packed, columns)
    else:
        assert torch.equal(pack_rows(unpack_rows(packed, columns)), packed)


def test_a_turned_mask_packs_like_its_copy():
    keep = torch.rand(9, 13, generator=torch.Generator().manual_seed(0)) < 0.5
    assert torch.equal(pack_rows(keep.T), pack_rows(keep.T.contiguous()))


def test_unpacked_masks_can_be_written():
    mask = unpack_rows(pack_rows(torch.ones(2, 3, dtype=torch.bool)), 3)
    mask[0, 0] = False
    assert int(mask.sum()) == 5


@pytest.mark.parametrize(
    "packed",
    [
        torch.zeros(2, 2, dtype=torch.int32),
        torch.zeros(2, 3, dtype=torch.uint8),
        torch.zeros(4, dtype=torch.uint8),
    ],
)
def test_refuses_another_dtype_or_width(packed):
    with pytest.raises(SubnetworkError, match=r"10 columns must be uint8 \[out, 2\]"):
        unpack_rows(packed, 10)
