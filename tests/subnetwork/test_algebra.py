"""The algebra, against Python's own sets, and its laws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.errors import SubnetworkError
from prosopon.subnetwork import (
    Subnetwork,
    SubnetworkConfig,
    complement,
    difference,
    intersection,
    majority,
    union,
)
from tests.subnetwork.samples import config, levels, masks, subnetwork

SHAPES = {"a": (2, 5), "b": (3, 2)}
EVERYTHING = {(n, i, j) for n, (rows, columns) in SHAPES.items() for i in range(rows)
              for j in range(columns)}  # fmt: skip


@st.composite
def subnetworks(draw, ranked=False):
    seed = draw(st.integers(0, 50))
    keep = masks(seed, share=draw(st.sampled_from([0.0, 0.3, 0.7, 1.0])), shapes=SHAPES)
    return Subnetwork(keep, config(persona=f"p{seed}"), levels(keep, seed) if ranked else None)


def pruned(one):
    return {(n, i, j) for n, mask in one.keep.items() for i, j in (~mask).nonzero().tolist()}


@settings(deadline=None)
@given(st.lists(subnetworks(), min_size=1, max_size=5))
def test_every_operation_is_that_of_the_sets_of_pruned_weights(operands):
    sets = [pruned(one) for one in operands]
    assert pruned(union(*operands)) == set.union(*sets)
    assert pruned(intersection(*operands)) == set.intersection(*sets)
    votes = {weight for weight in EVERYTHING if sum(weight in s for s in sets) > len(sets) / 2}
    assert pruned(majority(*operands)) == votes
    assert pruned(difference(operands[0], operands[-1])) == sets[0] - sets[-1]
    assert pruned(complement(operands[0])) == EVERYTHING - sets[0]


@settings(deadline=None)
@given(subnetworks(), subnetworks())
def test_laws(a, b):
    assert complement(complement(a)) == a
    assert complement(union(a, b)) == intersection(complement(a), complement(b))
    assert difference(a, b) == intersection(a, complement(b))
    assert union(a, b) == union(b, a)
    assert majority(a, a, b) == a


@settings(deadline=None)
@given(subnetworks(True), subnetworks(True), subnetworks(True), st.floats(0, 1))
def test_strength_commutes(a, b, c, s):
    for operation in (union, intersection, majority):
        weaker = operation(*(one.at_strength(s) for one in (a, b, c)))
        assert operation(a, b, c).at_strength(s) == weaker
    assert difference(a, b).at_strength(s) == difference(a.at_strength(s), b)


def test_a_result_is_ranked_only_if_every_operand_is():
    with_levels, without = subnetwork(0, ranked=True), subnetwork(1)
    assert union(with_levels, without).levels is None
    assert difference(without, with_levels).levels is None
    assert complement(with_levels).levels is None


def test_operands_are_not_changed():
    a, b = subnetwork(0, ranked=True), subnetwork(1, ranked=True)
    for operation in (union, intersection, majority, difference):
        operation(a, b).keep["model.layers.0.mlp.up"].fill_(False)
    complement(a).keep["model.layers.0.mlp.up"].fill_(False)
    assert (a, b) == (subnetwork(0, ranked=True), subnetwork(1, ranked=True))


def test_provenance_names_the_operands(tmp_path):
    other = {"persona": "bold", "criterion": "wanda", "license": "MIT", "seed": 3}
    a, b = subnetwork(0), Subnetwork(masks(1), config(**other))
    made = union(a, b)
    made.save_pretrained(tmp_path)
    read = Subnetwork.from_pretrained(tmp_path).config
    assert SubnetworkConfig.model_validate(read.model_dump()) == made.config
    assert (read.persona, read.criterion, read.pattern) == (
        "union(introvert, bold)",
        "union",
        "none",
    )
    first, second = read.options["operands"]
    assert first["content_hash"] == a.content_hash() != b.content_hash()
    assert second["content_hash"] == b.content_hash()
    assert (second["persona"], second["criterion"]) == ("bold", "wanda")
    assert read.license == "Apache-2.0 and MIT"
    assert (read.seed, read.opposite, read.sparsity) == (0, None, None)
    assert read.fingerprint == a.config.fingerprint
    assert read.calibration.target_count == 24
    assert read.calibration.target_hash not in (a.config.calibration.target_hash, "")
    assert complement(b, name="timid").config.persona == "timid"
    assert complement(b).config.calibration == b.config.calibration


def test_operands_of_different_models_or_sites_are_refused():
    a = subnetwork(0)
    other = subnetwork(0, persona="bold", fingerprint={"architecture": "a", "weights": "x"})
    missing = Subnetwork({"q": a.keep["model.layers.0.attn.q"]}, config(persona="bold"))
    turned = Subnetwork({n: m.T.contiguous() for n, m in a.keep.items()}, config(persona="bold"))
    for operation in (union, intersection, majority, difference):
        with pytest.raises(SubnetworkError, match=r"'introvert' and 'bold' belong to different"):
            operation(a, other)
        with pytest.raises(SubnetworkError, match=r"different sites: model.layers.0.attn.q, .*, q"):
            operation(a, missing)
        with pytest.raises(SubnetworkError, match="different sites"):
            operation(a, turned)
    reordered = Subnetwork(dict(reversed(a.keep.items())), config())
    assert union(a, reordered) == a


@settings(deadline=None)
@given(subnetworks(True), st.floats(0, 1), st.floats(0, 1))
def test_strengths_are_nested_prefixes_of_the_ranking(one, s, t):
    expected = {
        (name, i, j)
        for name, mask in one.keep.items()
        for (i, j), level in zip((~mask).nonzero().tolist(), one.levels[name].tolist(), strict=True)
        if s > level / 256
    }
    weaker = one.at_strength(s)
    assert pruned(weaker) == expected
    assert weaker.at_strength(t) == one.at_strength(min(s, t))
    assert weaker.at_strength(t).config == one.at_strength(min(s, t)).config
    assert pruned(one.at_strength(min(s, t))) <= pruned(one.at_strength(max(s, t)))
    assert pruned(one.at_strength(0)) == set()
    assert one.at_strength(1) == one


def test_strengths_that_are_none():
    with pytest.raises(SubnetworkError, match="'introvert' has one strength only"):
        subnetwork().at_strength(0.5)
    for strength in (-0.1, 1.01, float("nan")):
        with pytest.raises(SubnetworkError, match="must lie between 0 and 1"):
            subnetwork(ranked=True).at_strength(strength)


def test_levels_need_one_for_every_pruned_weight():
    keep = masks()
    right = levels(keep)
    name = next(iter(right))
    for wrong in ({}, right | {name: right[name][:-1]}, right | {name: right[name].float()}):
        with pytest.raises(SubnetworkError, match="needs levels uint8"):
            Subnetwork(keep, config(), wrong)
    assert Subnetwork(keep, config(format_version=1), right).config.format_version == 2
    assert torch.equal(Subnetwork(keep, config(), right).levels[name], right[name])
