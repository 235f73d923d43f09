"""Minimum covers and exact factors, against counting and against the product."""

import numpy as np
import pytest
import torch

from prosopon.export.cover import exact_factors, minimum_cover
from tests.selection.test_lines import fewest_lines


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (5, 6), (6, 5)])
def test_the_cover_is_the_smallest(shape):
    generator = torch.Generator().manual_seed(0)
    for draw in range(40):
        present = torch.rand(shape, generator=generator) < (draw % 10) / 10
        rows, columns = minimum_cover(present)
        rest = present.clone()
        rest[rows], rest[:, columns] = False, False
        assert not rest.any()
        assert len(rows) + len(columns) == fewest_lines(present.numpy())
        turned = minimum_cover(present.T)
        assert sum(map(len, turned)) == len(rows) + len(columns)


def test_of_a_large_matrix_it_is_as_large_as_the_lines_that_were_drawn():
    generator = torch.Generator().manual_seed(1)
    present = torch.zeros(200, 300, dtype=torch.bool)
    present[[5, 9, 77]] = torch.rand(3, 300, generator=generator) < 0.5
    present[:, [0, 150]] = torch.rand(200, 2, generator=generator) < 0.5
    rows, columns = minimum_cover(present)
    assert (rows.tolist(), columns.tolist()) == ([5, 9, 77], [0, 150])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("spare", [0, 3])
def test_the_product_is_the_matrix_bit_for_bit(dtype, spare):
    generator = torch.Generator().manual_seed(2)
    delta = torch.randn(9, 14, generator=generator).to(dtype)
    inside = torch.zeros(9, 14, dtype=torch.bool)
    inside[[1, 4]], inside[:, [0, 7, 13]] = True, True
    delta[~inside] = 0
    cover = minimum_cover(delta != 0)
    tall, wide = exact_factors(delta, cover, 5 + spare)
    assert (tall.dtype, wide.dtype) == (dtype, dtype)
    assert (tall.shape, wide.shape) == ((9, 5 + spare), (5 + spare, 14))
    assert torch.equal(tall @ wide, delta)
    assert torch.equal((0.25 * tall) @ wide, 0.25 * delta)
    # No entry is a sum of two terms.
    terms = (tall != 0).double() @ (wide != 0).double()
    assert terms.max() <= 1
    assert np.array_equal((terms > 0).numpy(), (delta != 0).numpy())


def test_a_matrix_of_zeros_needs_nothing():
    delta = torch.zeros(3, 4)
    cover = minimum_cover(delta != 0)
    assert list(map(len, cover)) == [0, 0]
    assert torch.equal(torch.mm(*exact_factors(delta, cover, 1)), delta)
