import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.analysis.overlap import (
    Counts,
    grouped,
    matrix,
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
    rows = matrix(list("abc"), overlaps(named), lambda found: found.differing)
    assert [rows[i][i] for i in range(3)] == [None] * 3
    assert (
        rows[0][2] == rows[2][0] == pair_overlap(("", ""), named["a"], named["c"]).whole.differing
    )


def test_refusals():
    with pytest.raises(OptionError, match="at least two"):
        overlaps({"a": subnetwork(1)})
    with pytest.raises(OptionError, match="kind, layer, projection"):
        grouped(site_counts(subnetwork(1), subnetwork(2)), "row")
    with pytest.raises(OptionError, match="at least one site"):
        overlap_of([])
    other = subnetwork(1, fingerprint={"architecture": "a" * 64, "weights": "c" * 64})
    with pytest.raises(SubnetworkError, match="different models"):
        site_counts(subnetwork(1), other)
