import itertools
import json
import math
from statistics import fmean

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.analysis.overlap import (
    METHOD,
    Counts,
    Overlap,
    cluster,
    group_counts,
    jaccard_matrix,
    overlap_of,
    overlaps,
    pair_overlap,
    site_counts,
)
from prosopon.errors import OptionError, SubnetworkError
from prosopon.subnetwork import Subnetwork
from tests.subnetwork.samples import config, masks

SHAPES = {
    "model.layers.0.self_attn.q_proj": (3, 4),
    "model.layers.0.mlp.up_proj": (4, 4),
    "model.layers.10.self_attn.q_proj": (3, 4),
    "model.layers.2.mlp.up_proj": (4, 4),
}


def subnetwork(seed, share=0.6, **changes):
    return Subnetwork(masks(seed, share=share, shapes=SHAPES), config(**changes))


def flat(one):
    return [bool(x) for mask in one.keep.values() for x in mask.flatten()]


def test_every_figure_equals_a_slow_loop():
    a, b = subnetwork(1), subnetwork(2, 0.8)
    found = pair_overlap(("a", "b"), a, b).whole
    pairs = list(zip(flat(a), flat(b), strict=True))
    both = sum(not x and not y for x, y in pairs)
    either = sum(not x or not y for x, y in pairs)
    kept_both, kept_either = sum(x and y for x, y in pairs), sum(x or y for x, y in pairs)
    assert found.both == both
    assert found.jaccard_pruned == pytest.approx(both / either)
    assert found.jaccard_kept == pytest.approx(kept_both / kept_either)
    assert found.differing == pytest.approx(sum(x != y for x, y in pairs) / len(pairs))
    x = torch.tensor(flat(a), dtype=torch.float64)
    y = torch.tensor(flat(b), dtype=torch.float64)
    cosine = torch.nn.functional.cosine_similarity
    assert found.cosine_kept == pytest.approx(float(cosine(x, y, dim=0)))
    assert found.cosine_pruned == pytest.approx(float(cosine(1 - x, 1 - y, dim=0)))


def test_chance_is_the_mean_over_all_placements():
    counts = [Counts(4, 2, 1, 0), Counts(3, 2, 2, 2)]
    sums = []
    places = [
        [
            len(set(a) & set(b))
            for a in itertools.combinations(range(each.total), each.first)
            for b in itertools.combinations(range(each.total), each.second)
        ]
        for each in counts
    ]
    sums = [x + y for x in places[0] for y in places[1]]
    mean = sum(sums) / len(sums)
    deviation = math.sqrt(sum((s - mean) ** 2 for s in sums) / len(sums))
    found = overlap_of(counts)
    assert found.expected_both == pytest.approx(mean)
    assert found.z == pytest.approx((2 - mean) / deviation)
    assert found.expected_differing == pytest.approx((4 + 3 - 2 * mean) / 7)
    assert found.expected_jaccard_pruned == pytest.approx(mean / (7 - mean))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(0, 99))
def test_order_does_not_matter_and_groups_add_up(one, other):
    a, b = subnetwork(one), subnetwork(other)
    ab, ba = pair_overlap(("a", "b"), a, b), pair_overlap(("b", "a"), b, a)
    assert ab.whole.to_json() | {"pruned": 0} == ba.whole.to_json() | {"pruned": 0}
    for groups in ab.by.values():
        assert sum(each.total for each in groups.values()) == ab.whole.total
        assert sum(each.both for each in groups.values()) == ab.whole.both


def test_a_mask_and_itself():
    a = subnetwork(3)
    found = pair_overlap(("a", "a"), a, a)
    assert found.whole.jaccard_pruned == found.whole.jaccard_kept == 1
    assert found.differing() == {"all": 0, "attention": 0, "mlp": 0}
    assert found.whole.cosine_kept == pytest.approx(1)


def test_what_has_no_meaning_is_none():
    dense = Subnetwork({"a": torch.ones(2, 2, dtype=torch.bool)}, config())
    found = pair_overlap(("a", "b"), dense, dense).whole
    assert found.jaccard_pruned is None
    assert found.cosine_pruned is None
    assert found.z is None
    empty = Subnetwork({"a": torch.zeros(2, 2, dtype=torch.bool)}, config())
    found = pair_overlap(("a", "b"), empty, empty).whole
    assert found.jaccard_kept is None
    assert found.cosine_kept is None


def test_layers_come_by_number_and_kinds_by_name():
    found = pair_overlap(("a", "b"), subnetwork(1), subnetwork(2))
    assert list(found.by["layer"]) == ["0", "2", "10"]
    assert set(found.by["kind"]) == {"attention", "mlp"}
    assert set(found.by["projection"]) == {"q_proj", "up_proj"}
    assert set(found.differing()) == {"all", "attention", "mlp"}


def test_matrix_of_all_pairs():
    named = {name: subnetwork(seed) for seed, name in enumerate("abc")}
    rows = jaccard_matrix(list("abc"), overlaps(named))
    assert [rows[i][i] for i in range(3)] == [None] * 3
    whole = pair_overlap(("", ""), named["a"], named["c"]).whole
    assert rows[0][2] == rows[2][0] == whole.jaccard_pruned


def test_a_group_is_the_overlap_of_its_sites_alone():
    a, b = subnetwork(4), subnetwork(5)
    groups = pair_overlap(("a", "b"), a, b).by["layer"]
    for layer in ("0", "2", "10"):
        sites = [site for site in SHAPES if site.split(".")[2] == layer]
        alone = [Subnetwork({site: one.keep[site] for site in sites}, config()) for one in (a, b)]
        assert groups[layer] == pair_overlap(("a", "b"), *alone).whole


def test_sites_outside_the_layers_come_last():
    counts = {"head": Counts(4, 1, 1, 1), "m.3.q": Counts(4, 2, 2, 0), "m.1.q": Counts(4, 0, 1, 0)}
    assert list(group_counts(counts, "layer")) == ["1", "3", "-"]
    assert list(group_counts(counts, "projection")) == ["head", "q"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(0, 99))
def test_complements_exchange_what_is_pruned_and_what_is_kept(one, other):
    a, b = subnetwork(one), subnetwork(other)
    ours = pair_overlap(("a", "b"), a, b).whole
    theirs = pair_overlap(
        ("a", "b"), *(Subnetwork({s: ~m for s, m in x.keep.items()}, config()) for x in (a, b))
    ).whole
    assert theirs.jaccard_pruned == ours.jaccard_kept
    assert theirs.cosine_kept == ours.cosine_pruned
    assert theirs.differing == ours.differing
    assert theirs.expected_differing == pytest.approx(ours.expected_differing)
    assert theirs.z == pytest.approx(ours.z, abs=1e-9)


def test_a_single_weight_leaves_chance_no_choice():
    alone = overlap_of([Counts(1, 1, 1, 1)])
    assert (alone.expected_both, alone.z) == (1, None)
    assert (alone.jaccard_pruned, alone.jaccard_kept, alone.differing) == (1, None, 0)


@pytest.mark.parametrize("names", [("a", "b"), ("Schüchtern", "大胆"), ("a|b", "<i>")])
def test_json_holds_every_figure_under_any_name(names):
    pair = pair_overlap(names, subnetwork(1), subnetwork(2))
    shown = json.loads(json.dumps(pair.to_json()))
    assert (shown["first"], shown["second"]) == names
    assert set(shown) == {"first", "second", "all", "by_kind", "by_layer", "by_projection"}
    assert shown["all"]["pruned"] == list(pair.whole.pruned)
    for name in Overlap.__slots__:
        if name != "pruned":
            assert shown["by_kind"]["mlp"][name] == getattr(pair.by["kind"]["mlp"], name)


def row(*pruned):
    """Return a mask of 20 weights that prunes some."""
    mask = torch.ones(1, 20, dtype=torch.bool)
    mask[0, list(pruned)] = False
    return Subnetwork({"a": mask}, config())


def clustering(**masks_of):
    return cluster(list(masks_of), overlaps(masks_of))


def test_average_linkage_of_jaccard_distances():
    tree = clustering(a=row(0, 1, 2, 3), b=row(9, 10), c=row(0, 1, 2))
    assert tree.distances == [[0, 1, 0.25], [1, 0, 1], [0.25, 1, 0]]
    (first, second, near, two), (third, last, far, three) = tree.merges
    assert ({first, second}, near, two) == ({0, 2}, 0.25, 2)
    assert ({third, last}, far, three) == ({1, 3}, 1.0, 3)
    assert set(tree.order) == {"a", "b", "c"}
    assert abs(tree.order.index("a") - tree.order.index("c")) == 1


def test_equal_and_empty_masks_are_at_distance_0():
    tree = clustering(a=row(1), b=row(1), c=row(), d=row())
    assert tree.distances[0][1] == tree.distances[2][3] == 0
    assert tree.distances[0][2] == 1
    shown = json.loads(json.dumps(tree.to_json()))
    assert (shown["names"], shown["method"]) == (list("abcd"), METHOD)


def slow_average_linkage(distances):
    """Merge the nearest two clusters until one is left; return the distances of the merges."""
    clusters, merges = [[i] for i in range(len(distances))], []
    while len(clusters) > 1:
        near = {
            (i, j): fmean(distances[a][b] for a in clusters[i] for b in clusters[j])
            for i, j in itertools.combinations(range(len(clusters)), 2)
        }
        first, second = min(near, key=near.get)
        merges.append(near[first, second])
        clusters[first] += clusters.pop(second)
    return merges


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 6), st.integers(0, 999))
def test_merges_are_those_of_a_slow_loop(count, seed):
    named = {f"persona {i}": subnetwork(seed + i) for i in range(count)}
    tree = cluster(list(named), overlaps(named))
    assert [merge[2] for merge in tree.merges] == pytest.approx(
        slow_average_linkage(tree.distances)
    )
    assert sorted(tree.order) == sorted(named)
    assert tree.merges[-1][3] == count


def test_refusals():
    with pytest.raises(OptionError, match="at least two"):
        overlaps({"a": subnetwork(1)})
    with pytest.raises(OptionError, match="kind, layer, projection"):
        group_counts(site_counts(subnetwork(1), subnetwork(2)), "row")
    with pytest.raises(OptionError, match="at least one site"):
        overlap_of([])
    other = subnetwork(1, fingerprint={"architecture": "a" * 64, "weights": "c" * 64})
    with pytest.raises(SubnetworkError, match="different models"):
        site_counts(subnetwork(1), other)
