"""Whole units: against the obvious loop, round trips, and what is refused."""

from __future__ import annotations

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon import selection
from prosopon.errors import OptionError
from prosopon.models.groups import Group, Part
from prosopon.selection import Scored
from tests.selection import oracle
from tests.selection.mapping import select

SHAPES = {"up": (6, 4), "fused": (12, 4), "down": (4, 6), "other": (3, 5)}
PLAIN = [
    ("up", 0, [[0, 1], [2, 3], [4, 5]]),
    ("fused", 0, [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]),
    ("down", 1, [[0, 1], [2, 3], [4, 5]]),
]


def group(kind="heads", plain=PLAIN):
    parts = tuple(Part(site, axis, torch.tensor(indices)) for site, axis, indices in plain)
    return Group(kind, "layer.0", parts)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), sparsity=st.sampled_from([0.1, 0.3, 0.34, 0.5, 0.66]))
def test_equals_the_oracle(data, sparsity):
    def drawn():
        values = st.lists(st.integers(-1, 2), min_size=96, max_size=96)
        flat = torch.tensor(data.draw(values)).float()
        return {name: flat[: a * b].view(a, b) for name, (a, b) in SHAPES.items()}

    scores, ties = drawn(), drawn() if data.draw(st.booleans()) else None
    found = select(scores, sparsity, pattern="heads", ties=ties, groups=[group()])
    expected = oracle.select_units(scores, sparsity, [PLAIN], ties)
    for name, mask in expected.items():
        assert torch.equal(found[name], mask), name
    assert group().kept_units(found).sum() == oracle.kept(3, sparsity)


def test_equal_units_keep_the_first_and_other_sites_stay_whole():
    scores = {name: torch.ones(shape) for name, shape in SHAPES.items()}
    found = select(scores, 0.5, pattern="heads", groups=[group()])
    assert group().kept_units(found).tolist() == [True, False, False]
    assert found["other"].all()


@pytest.mark.parametrize("pattern", ["row", "site", "1:2", "heads"])
def test_sites_may_come_one_at_a_time_and_are_let_go(pattern):
    names = ["up", "fused", "down"]
    alive = []

    def score(name):
        # The one before may be held until this one is there.
        assert not any(one() is not None for one in alive[:-1])
        tensor = torch.rand(SHAPES[name], generator=torch.Generator().manual_seed(len(name)))
        alive.append(weakref.ref(tensor))
        return Scored(name, tensor)

    share, groups = None if pattern == "1:2" else 0.5, [group()]
    lazily = selection.select(map(score, names), share, pattern=pattern, groups=groups)
    together = {}
    for name in names:
        alive.clear()
        together[name] = score(name).scores
    for name, mask in select(together, share, pattern=pattern, groups=groups).items():
        assert torch.equal(mask, lazily[name])


def test_refuses_what_it_cannot_choose_from():
    scores = {name: torch.ones(shape) for name, shape in SHAPES.items()}
    with pytest.raises(OptionError, match="needs the model's groups of heads"):
        select(scores, 0.5, pattern="heads")
    with pytest.raises(OptionError, match="'channels' cannot choose from groups of heads"):
        select(scores, 0.5, pattern="channels", groups=[group()])
    with pytest.raises(OptionError, match=r"none of the 3 heads of 'layer.0': at most 0.6667"):
        select(scores, 0.7, pattern="heads", groups=[group()])
    with pytest.raises(OptionError, match="needs scores of site 'down'"):
        select({k: v for k, v in scores.items() if k != "down"}, 0.5, pattern="heads",
               groups=[group()])  # fmt: skip
    scores["up"][0, 0], scores["down"][0, 0] = torch.inf, -torch.inf
    with pytest.raises(OptionError, match="infinite scores of both signs"):
        select(scores, 0.5, pattern="heads", groups=[group()])


def test_a_mask_of_single_weights_has_no_units():
    masks = {name: torch.ones(shape, dtype=torch.bool) for name, shape in SHAPES.items()}
    assert group().kept_units(masks).all()
    masks["up"][0, 0] = False
    with pytest.raises(OptionError, match="mask of site 'up' prunes other weights"):
        group().kept_units(masks)
    masks["up"][:2] = False  # all of the unit here, but not elsewhere
    with pytest.raises(OptionError, match="mask of site 'up' prunes other weights"):
        group().kept_units(masks)
    del masks["up"]
    with pytest.raises(OptionError, match="no mask of site 'up'"):
        group().kept_units(masks)
