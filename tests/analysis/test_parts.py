import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.analysis.parts import (
    _distinct,
    elsewhere,
    in_layers,
    layer_ranges,
    mean_size,
    only,
    prefix,
    swap,
)
from prosopon.errors import OptionError, SubnetworkError
from prosopon.models import find_sites, role
from prosopon.subnetwork import Subnetwork, complement
from tests.runtime.samples import subnetwork
from tests.subnetwork.samples import config
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama")[0]


def pruned(one):
    return {site: ~mask for site, mask in one.keep.items()}


def test_only_some_sites(model):
    whole = subnetwork(model)
    mlp = [site for site in whole.sites if role(site) == "mlp"]
    part = only(whole, mlp)
    for site, mask in part.keep.items():
        expected = whole.keep[site] if role(site) == "mlp" else torch.ones_like(mask)
        assert torch.equal(mask, expected)
    rest = only(whole, [site for site in whole.sites if site not in mlp])
    assert part.pruned + rest.pruned == whole.pruned


def test_layers(model):
    whole = subnetwork(model)
    assert layer_ranges(whole, 1) == [(0, 1)]
    assert layer_ranges(whole, 5) == [(0, 0), (1, 1)]
    assert in_layers(whole, 0, 1) == list(whole.sites)
    assert in_layers(whole, 1, 3) == [site for site in whole.sites if ".1." in site]
    assert in_layers(whole, 2, 9) == []
    outside = Subnetwork({"outside": torch.ones(2, 2, dtype=torch.bool)}, config())
    assert in_layers(outside, 0, 99) == []
    assert layer_ranges(outside, 4) == []
    with pytest.raises(OptionError, match="at least one"):
        layer_ranges(whole, 0)


def test_a_swapped_range_is_the_other_s(model):
    ours, theirs = subnetwork(model, seed=1), subnetwork(model, seed=2)
    mixed = swap(ours, theirs, in_layers(ours, 1, 1))
    for site, mask in mixed.keep.items():
        assert torch.equal(mask, (theirs if ".1." in site else ours).keep[site])
    with pytest.raises(SubnetworkError, match="different"):
        swap(ours, subnetwork(tiny_model("llama", seed=3)[0]), in_layers(ours, 0, 0))


@pytest.mark.parametrize("alike", [False, True])
def test_as_many_others_of_the_same_sites(model, alike):
    whole = subnetwork(model, share=0.3)
    sites = {site.name: site for site in find_sites(model)}

    def draw(seed):
        return elsewhere(whole, sites if alike else None, seed=seed)

    drawn = draw(0)
    for site, gone in pruned(drawn).items():
        assert int(gone.sum()) == whole.config.sites[site].pruned
        assert not bool((gone & ~whole.keep[site]).any())
    assert drawn == draw(0)
    assert drawn != draw(1)


def test_the_others_are_of_the_same_size_where_asked(model):
    # A mask of the largest weights: other ones at random are smaller.
    sites = {site.name: site for site in find_sites(model)}
    keep = {}
    for name, site in sites.items():
        size = site.matrix().abs()
        # Every second of the larger half, so that the rest of that half can stand in.
        order = size.flatten().argsort(descending=True)[: size.numel() // 4 : 2]
        mask = torch.ones(size.numel(), dtype=torch.bool)
        mask[order] = False
        keep[name] = mask.view(size.shape)
    whole = Subnetwork(keep, subnetwork(model).config.model_copy(update={"sites": {}}))
    wanted = mean_size(whole, sites)
    alike = elsewhere(whole, sites, seed=0)
    assert mean_size(alike, sites) == pytest.approx(wanted, rel=0.05)
    assert mean_size(elsewhere(whole, seed=0), sites) < 0.8 * wanted


def test_no_weights_left_to_draw_from(model):
    with pytest.raises(OptionError, match="not left to draw from"):
        elsewhere(complement(subnetwork(model, share=0.3)), seed=0)


@settings(deadline=None)
@given(st.lists(st.integers(-5, 25), min_size=1, max_size=20))
def test_distinct_places(wanted):
    found = _distinct(np.sort(np.array(wanted)), 20)
    assert len(set(found.tolist())) == len(wanted)
    assert found.min() >= 0
    assert found.max() < 20


@pytest.mark.parametrize("ranked", [True, False])
def test_prefixes_are_nested_and_of_the_size_asked(model, ranked):
    whole = subnetwork(model, ranked=True)
    assert prefix(whole, 0, ranked=ranked).pruned == 0
    assert prefix(whole, 1, ranked=ranked).keep.keys() == whole.keep.keys()
    assert all(
        torch.equal(a, whole.keep[s]) for s, a in prefix(whole, 1, ranked=ranked).keep.items()
    )
    before = None
    for share in (0.1, 0.37, 0.8):
        part = prefix(whole, share, ranked=ranked, seed=3)
        assert part.pruned == pytest.approx(share * whole.pruned, rel=0.05)
        for site, gone in pruned(part).items():
            assert not bool((gone & whole.keep[site]).any())
            if before is not None:
                assert not bool((before[site] & ~gone).any())
        before = pruned(part)


def test_the_ranking_orders_a_prefix(model):
    whole = subnetwork(model, ranked=True)
    part = prefix(whole, 0.25)
    for site, mask in part.keep.items():
        levels = whole.levels[site]
        gone = ~mask[~whole.keep[site]]
        if gone.any() and not gone.all():
            assert int(levels[gone].max()) <= int(levels[~gone].min())


def test_a_prefix_of_what_has_no_ranking(model):
    with pytest.raises(OptionError, match="no ranking"):
        prefix(subnetwork(model), 0.5)
    with pytest.raises(OptionError, match="between 0 and 1"):
        prefix(subnetwork(model, ranked=True), 1.5)


def test_nothing_pruned_has_no_size(model):
    sites = {site.name: site for site in find_sites(model)}
    name = next(iter(sites))
    dense = Subnetwork({name: torch.ones(sites[name].shape, dtype=torch.bool)}, config())
    assert mean_size(dense, sites) is None


def lowest_levels(whole, share):
    """Return the levels of the weights that go first, weight by weight."""
    levels = sorted(int(x) for one in whole.levels.values() for x in one)
    return levels[: round(share * len(levels))]


@pytest.mark.parametrize("share", [0.05, 0.4, 0.95])
def test_a_prefix_takes_the_lowest_levels(model, share):
    whole = subnetwork(model, seed=4, ranked=True)
    part = prefix(whole, share)
    taken = sorted(
        int(level)
        for site, mask in part.keep.items()
        for level in whole.levels[site][~mask[~whole.keep[site]]]
    )
    wanted = lowest_levels(whole, share)
    # One level is shared out among the sites by chance; all others are taken or left whole.
    assert abs(len(taken) - len(wanted)) <= len(whole.keep)
    assert max(taken) == wanted[-1]
    below = [level for level in wanted if level < wanted[-1]]
    assert [level for level in taken if level < wanted[-1]] == below


def test_prefixes_in_random_order_are_seeded(model):
    whole = subnetwork(model, ranked=True)
    assert prefix(whole, 0.5, ranked=False, seed=1) == prefix(whole, 0.5, ranked=False, seed=1)
    assert prefix(whole, 0.5, ranked=False, seed=1) != prefix(whole, 0.5, ranked=False, seed=2)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12))
def test_layers_are_split_evenly_and_completely(layers, count):
    keep = {f"m.{layer}.q": torch.ones(1, 2, dtype=torch.bool) for layer in range(layers)}
    ranges = layer_ranges(Subnetwork(keep, config()), count)
    assert len(ranges) == min(layers, count)
    assert [n for first, last in ranges for n in range(first, last + 1)] == list(range(layers))
    sizes = [last - first + 1 for first, last in ranges]
    assert max(sizes) - min(sizes) <= 1


def test_a_part_says_whose_it_is_and_claims_no_opposite(model):
    whole = subnetwork(model, "Schüchtern")
    part = only(whole, [])
    assert part.pruned == 0
    assert (part.config.persona, part.config.opposite) == ("Schüchtern", None)
    assert part.config.fingerprint == whole.config.fingerprint


def test_distinct_places_are_the_wanted_ones_where_these_are_distinct():
    wanted = np.array([0, 3, 4, 9])
    assert _distinct(wanted, 10).tolist() == wanted.tolist()
    assert _distinct(np.array([2, 2, 2]), 10).tolist() == [2, 3, 4]
    assert _distinct(np.array([9, 9, 9]), 10).tolist() == [7, 8, 9]
    assert _distinct(np.array([-3, -1]), 10).tolist() == [0, 1]
