from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.errors import OptionError, UnknownNameError
from prosopon.selection import PATTERNS
from tests.selection import oracle
from tests.selection.mapping import select

ALL = ("row", "site", "global")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, mask in expected.items():
        assert found[name].dtype == torch.bool
        assert torch.equal(found[name], mask), name


@st.composite
def matrices(draw, values):
    """Scores of one to three sites, drawn from so few values that ties are everywhere."""
    sites = {}
    for index in range(draw(st.integers(1, 3))):
        rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 7))
        flat = draw(st.lists(values, min_size=rows * columns, max_size=rows * columns))
        dtype = draw(st.sampled_from(DTYPES))
        sites[f"site{index}"] = torch.tensor(flat, dtype=dtype).view(rows, columns)
    return sites


FEW = st.sampled_from([-math.inf, -2.0, -0.0, 0.0, 0.5, 1.0, math.inf])
MANY = st.floats(allow_nan=False, width=16)
SPARSITY = st.one_of(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.floats(0.01, 0.99))


@pytest.mark.parametrize("pattern", ALL)
@settings(max_examples=70, deadline=None)
@given(data=st.data(), scores=matrices(st.one_of(FEW, MANY)), sparsity=SPARSITY)
def test_equals_the_oracle(pattern, data, scores, sparsity):
    ties = None
    if data.draw(st.booleans()):
        ties = {
            name: torch.tensor(
                data.draw(st.lists(FEW, min_size=score.numel(), max_size=score.numel())),
            ).view(score.shape)
            for name, score in scores.items()
        }
    found = select(scores, sparsity, pattern=pattern, ties=ties)
    assert_same(found, oracle.select(scores, sparsity, pattern, ties))


@pytest.mark.parametrize("pattern", ALL)
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_the_oracle_on_continuous_scores(pattern, dtype):
    generator = torch.Generator().manual_seed(1)
    scores = {
        name: torch.randn(shape, generator=generator).to(dtype)
        for name, shape in {"a": (16, 24), "b": (8, 40)}.items()
    }
    found = select(scores, 0.3, pattern=pattern)
    assert_same(found, oracle.select(scores, 0.3, pattern))


@pytest.mark.parametrize("dead", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("sparsity", [0.3, 0.7])
def test_equals_the_oracle_on_long_rows(dead, sparsity):
    """Rows long enough for guessing; dead channels' scores are equal, their ties are not."""
    generator = torch.Generator().manual_seed(3)
    ties = {"a": torch.randn(12, 900, generator=generator).abs()}
    alive = torch.rand(900, generator=generator) >= dead
    scores = {"a": ties["a"] * alive}
    scores["a"][3:6] = scores["a"][3:6].round(decimals=1)  # some rows with equals elsewhere, too
    found = select(scores, sparsity, ties=ties)
    assert_same(found, oracle.select(scores, sparsity, "row", ties))


@pytest.mark.parametrize("pattern", ALL)
def test_a_constant_site_keeps_the_first(pattern):
    mask = select({"a": torch.zeros(2, 10)}, 0.3, pattern=pattern)["a"]
    assert int(mask.sum()) == 14
    first = [range(7), range(10, 17)] if pattern == "row" else [range(14)]
    assert mask.flatten().nonzero().flatten().tolist() == [i for part in first for i in part]


@pytest.mark.parametrize("pattern", ALL)
def test_strided_scores_give_the_same_contiguous_masks(pattern):
    scores = torch.randn(12, 9, generator=torch.Generator().manual_seed(2)).round()
    turned = scores.T.contiguous().T
    mask = select({"a": turned}, 0.4, pattern=pattern)["a"]
    assert mask.is_contiguous()
    assert torch.equal(mask, select({"a": scores}, 0.4, pattern=pattern)["a"])


def test_row_keeps_the_papers_count_in_every_row():
    scores = {"a": torch.rand(50, 10), "b": torch.zeros(50, 33)}
    masks = select(scores, 0.3)
    assert set(masks["a"].sum(1).tolist()) == {7}
    assert set(masks["b"].sum(1).tolist()) == {23}  # floor(23.1)


def test_a_short_row_may_keep_nothing():
    assert not select({"a": torch.rand(3, 4)}, 0.9)["a"].any()


def test_global_spends_the_whole_budget_where_the_scores_are_low():
    masks = select({"low": torch.zeros(4, 5), "high": torch.ones(4, 5)}, 0.5, pattern="global")
    assert not masks["low"].any()
    assert masks["high"].all()


def test_global_breaks_ties_across_sites_in_their_order():
    scores = {"b": torch.ones(1, 4), "a": torch.ones(1, 4)}
    masks = select(scores, 0.25, pattern="global")
    assert masks["b"].all()
    assert masks["a"].tolist() == [[True, True, False, False]]


def test_global_compares_sites_of_different_dtypes_exactly():
    tiny = 1e-12  # lost if the scores were compared in float32
    scores = {
        "narrow": torch.ones(1, 2, dtype=torch.bfloat16),
        "wide": torch.tensor([[1 - tiny, 1 + tiny]], dtype=torch.float64),
    }
    masks = select(scores, 0.25, pattern="global")
    assert masks["narrow"].all()
    assert masks["wide"].tolist() == [[False, True]]


def test_ties_go_before_position_but_after_scores():
    scores = {"a": torch.tensor([[1.0, 1.0, 1.0, 0.0]])}
    ties = {"a": torch.tensor([[1.0, 3.0, 2.0, 9.0]])}
    for pattern in ALL:
        assert select(scores, 0.5, pattern=pattern, ties=ties)["a"].tolist() == [
            [False, True, True, False]
        ]


@pytest.mark.parametrize("pattern", ALL)
def test_arguments_are_left_alone_and_the_result_repeats(pattern):
    scores = {"a": torch.randn(6, 8).round()}
    ties = {"a": torch.randn(6, 8)}
    before = scores["a"].clone(), ties["a"].clone()
    first = select(scores, 0.5, pattern=pattern, ties=ties)
    assert_same(select(scores, 0.5, pattern=pattern, ties=ties), first)
    assert torch.equal(scores["a"], before[0])
    assert torch.equal(ties["a"], before[1])


@pytest.mark.parametrize("sparsity", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf])
def test_refuses_a_sparsity_out_of_range(sparsity):
    with pytest.raises(OptionError, match="between 0 and 1"):
        select({"a": torch.rand(2, 2)}, sparsity)


def test_refuses_nan_by_name():
    scores = {"good": torch.rand(2, 2), "bad": torch.tensor([[0.0, math.nan]])}
    with pytest.raises(OptionError, match=r"scores of site 'bad': 1 of 2 are NaN"):
        select(scores, 0.5)
    with pytest.raises(OptionError, match=r"ties of site 'bad'"):
        select({"bad": torch.rand(1, 2)}, 0.5, ties={"bad": scores["bad"]})


@pytest.mark.parametrize(
    "score", [torch.rand(3), torch.ones(2, 2, dtype=torch.int64), torch.rand(0, 4)]
)
def test_refuses_what_is_no_matrix_of_floats(score):
    with pytest.raises(OptionError, match="site 'a' must be a floating point matrix"):
        select({"a": score}, 0.5)


def test_refuses_nothing_and_ties_that_do_not_match():
    with pytest.raises(OptionError, match="no site"):
        select({}, 0.5)
    two = {"a": torch.rand(2, 2), "b": torch.rand(2, 2)}
    with pytest.raises(OptionError, match="not of the same sites: some sites have no ties"):
        select(two, 0.5, pattern="global", ties={"a": torch.rand(2, 2)})
    with pytest.raises(OptionError, match=r"ties of site 'a' are \[2, 3\]"):
        select({"a": torch.rand(2, 2)}, 0.5, ties={"a": torch.rand(2, 3)})


def test_unknown_pattern_lists_the_choices():
    with pytest.raises(
        UnknownNameError, match="Choices: 2:4, 4:8, channels, global, heads, lora:32, row"
    ):
        select({"a": torch.rand(2, 2)}, 0.5, pattern="diagonal")


def test_registry_holds_the_documented_patterns():
    assert PATTERNS.names() == sorted([*ALL, "2:4", "4:8", "channels", "heads", "lora:32"])
