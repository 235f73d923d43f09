from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prosopon.runtime.positions import Positions, is_among, symmetric_difference, union
from tests.subnetwork.samples import bool_matrices


def flat(mask):
    return [index for index, kept in enumerate(mask.flatten().tolist()) if not kept]


@given(keep=bool_matrices(rows=8, columns=60), data=st.data())
def test_is_the_set_of_pruned_positions(keep, data):
    positions = Positions(~keep)
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
    positions = Positions(~keep)
    assert positions._data.nbytes <= min(4 * len(positions), keep.numel() // 8)
    assert positions.indices().tolist() == flat(keep)
    everything = torch.arange(keep.numel())
    assert torch.equal(positions.contains(everything), ~keep.flatten())


@given(keep=bool_matrices(rows=8, columns=60), data=st.data())
def test_ranks_count_the_members_before(keep, data):
    positions = Positions(~keep)
    members = flat(keep)
    asked = data.draw(st.lists(st.sampled_from(members))) if members else []
    ranks = positions.rank(torch.tensor(asked, dtype=torch.int64))
    assert ranks.tolist() == [members.index(each) for each in asked]


SHARES = [0.0, 0.002, 0.02, 0.4, 1.0]


@pytest.mark.parametrize("other", SHARES)
@pytest.mark.parametrize("one", SHARES)
def test_unions_and_differences(one, other):
    generator = torch.Generator().manual_seed(1)
    total = 60 * 83
    ours, theirs = (torch.rand(total, generator=generator) < share for share in (one, other))
    first, second = Positions(ours), Positions(theirs)
    assert torch.equal(symmetric_difference(first, second), (ours ^ theirs).nonzero().squeeze(1))
    both = union(first.indices(), second.indices(), total)
    assert torch.equal(both, (ours | theirs).nonzero().squeeze(1))
    assert torch.equal(Positions.of(both, total).indices(), both)
    everything = torch.arange(total)
    assert torch.equal(is_among(first.indices(), everything), ours)
