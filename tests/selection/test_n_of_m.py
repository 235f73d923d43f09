"""N:M sparsity: against the obvious loop, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.errors import OptionError, UnknownNameError
from prosopon.selection import PATTERNS, find_pattern, rows
from tests.selection import oracle
from tests.selection.mapping import select

FEW = st.sampled_from([-math.inf, -1.0, -0.0, 0.0, 0.5, math.inf])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_equals_the_oracle(data):
    m = data.draw(st.integers(2, 6))
    n = data.draw(st.integers(1, m - 1))
    shape = data.draw(st.integers(1, 3)), m * data.draw(st.integers(1, 3))

    def matrix():
        flat = data.draw(st.lists(FEW, min_size=math.prod(shape), max_size=math.prod(shape)))
        return torch.tensor(flat).view(shape)

    scores, ties = {"a": matrix(), "b": matrix()}, None
    if data.draw(st.booleans()):
        ties = {"a": matrix(), "b": matrix()}
    found = select(scores, pattern=f"{n}:{m}", ties=ties)
    for name, mask in oracle.select_n_of_m(scores, n, m, ties).items():
        assert torch.equal(found[name], mask)


@pytest.mark.parametrize("pattern", ["2:4", "4:8", "1:4", "3:32"])
def test_every_block_keeps_n(pattern):
    n, m = map(int, pattern.split(":"))
    score = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    mask = select({"a": score}, pattern=pattern)["a"]
    assert set(mask.view(-1, m).sum(1).tolist()) == {n}
    assert torch.equal(mask, oracle.select_n_of_m({"a": score}, n, m)["a"])


def test_strided_scores_give_the_same_masks():
    score = torch.randn(8, 12, generator=torch.Generator().manual_seed(0)).round()
    turned = score.T.contiguous().T
    assert torch.equal(
        select({"a": turned}, pattern="2:4")["a"], select({"a": score}, pattern="2:4")["a"]
    )


def test_the_pattern_fixes_the_sparsity():
    score = {"a": torch.rand(2, 8)}
    assert torch.equal(select(score, 0.5, pattern="2:4")["a"], select(score, pattern="2:4")["a"])
    assert find_pattern("1:3").share(2 / 3) == pytest.approx(2 / 3)
    assert find_pattern("2:4").share(None, default=0.3) == 0.5
    with pytest.raises(OptionError, match=r"sparsity 0.3 disagrees with pattern '2:4'.* 0.5 of"):
        select(score, 0.3, pattern="2:4")
    with pytest.raises(OptionError, match="between 0 and 1"):
        select(score, 1.0, pattern="2:4")


def test_refuses_what_does_not_divide_by_name():
    with pytest.raises(OptionError, match="divisible by 4; site 'odd' has 6"):
        select({"even": torch.rand(2, 8), "odd": torch.rand(2, 6)}, pattern="2:4")


@pytest.mark.parametrize("name", ["0:4", "4:4", "5:4", "0:0"])
def test_refuses_numbers_without_meaning(name):
    with pytest.raises(OptionError, match="must keep some of every"):
        find_pattern(name)


@pytest.mark.parametrize("name", ["2:", ":4", "2:4:8", "-1:4", "2.5:4"])
def test_what_is_no_pattern(name):
    with pytest.raises(UnknownNameError, match="2:4"):
        find_pattern(name)


def test_a_pattern_without_a_fixed_share_needs_one():
    assert find_pattern(" row ") is PATTERNS.get("row")
    with pytest.raises(OptionError, match="pattern 'row' needs a sparsity"):
        select({"a": torch.rand(2, 2)})


@pytest.mark.parametrize("with_ties", [False, True])
def test_both_ways_of_keeping_a_rows_largest_agree(with_ties, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(5, (300, 40), generator=generator).float()
    ties = torch.randint(3, (300, 40), generator=generator).float() if with_ties else None
    monkeypatch.setattr(rows, "_CHUNK", 640)  # many chunks, the last one short
    for count in (1, 13, 39):
        fast = rows._by_partition(scores, count, ties)
        assert torch.equal(fast, rows._by_kthvalue(scores, count, ties))
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
        assert torch.equal(fast, rows._by_partition(scores, count, ties))
        monkeypatch.undo()
        monkeypatch.setattr(rows, "_CHUNK", 640)
