"""What is measured of masks, and what is not."""

import json
from types import SimpleNamespace

import pytest

from prosopon.analysis import PARTS, Findings, analyse
from prosopon.analysis.findings import (
    are_opposed,
    choose_parts,
    describe_mask,
    opposite,
    own_axes,
)
from prosopon.errors import OptionError, SubnetworkError
from tests.analysis.samples import axis
from tests.runtime.samples import subnetwork
from tests.tiny import tiny_model


def mask(persona, opposite=None, criterion="wanda", pruned=1):
    config = SimpleNamespace(persona=persona, opposite=opposite, criterion=criterion)
    return SimpleNamespace(config=config, pruned=pruned)


@pytest.mark.parametrize(
    ("masks", "askable", "parts"),
    [
        (2, True, list(PARTS)),
        (2, False, ["overlap", "location"]),
        (1, False, ["location"]),
        (1, True, ["location", "cross-talk", "faithfulness"]),
    ],
)
def test_whatever_the_arguments_allow_is_done(masks, askable, parts):
    assert choose_parts(None, masks, askable) == parts


def test_parts_that_cannot_be_are_refused():
    for part, why in (("overlap", "two masks"), ("cross-talk", "a model"), ("all", "Choices")):
        with pytest.raises(OptionError, match=why):
            choose_parts([part], 1, False)
    assert choose_parts(["overlap", "location"], 2, False) == ["overlap", "location"]
    with pytest.raises(OptionError, match="no mask"):
        analyse({})


def test_a_mask_is_asked_on_its_own_axis():
    axes = [axis(), axis("power", "power-seeking", "power-averse")]
    masks = {
        "i": mask("introvert"),
        "p": mask("power-seeking"),
        "stranger": mask("nobody"),
        "empty": mask("extravert", pruned=0),
    }
    own, silent = own_axes(masks, axes)
    assert {name: found.name for name, found in own.items()} == {"i": "energy", "p": "power"}
    assert silent == ["stranger", "empty"]


def test_the_opposite_s_mask_is_of_the_same_criterion():
    masks = {
        "a": mask("bold", "cautious"),
        "b": mask("cautious", criterion="random"),
        "c": mask("cautious"),
        "d": mask("formal"),
    }
    assert opposite("a", masks) is masks["c"]
    assert opposite("c", masks) is masks["a"]
    assert opposite("b", masks) is None
    assert opposite("d", masks) is None


def test_numbers_hold_what_was_measured_alone():
    assert Findings({}).to_json() == {"masks": {}}
    asked = Findings({"a": {"pruned": float("nan")}}, silent=["a"]).to_json()
    assert asked == {
        "masks": {"a": {"pruned": None}},
        "faithfulness": [],
        "faithfulness_not_asked": ["a"],
    }


def test_overlap_and_location_need_no_model():
    model, _ = tiny_model("llama")
    masks = {name: subnetwork(model, name, seed=i) for i, name in enumerate("ab")}
    findings = analyse(masks, parts=["overlap", "location"]).findings
    assert list(findings.masks) == ["a", "b"]
    assert [(pair.first, pair.second) for pair in findings.pairs] == [("a", "b")]
    assert list(findings.places) == ["a", "b"]
    assert (findings.talk, findings.tests, findings.silent) == (None, [], None)
    numbers = json.loads(json.dumps(findings.to_json(), allow_nan=False))
    assert numbers["overlap"][0]["opposites"] is False
    for name in "ab":
        cells = numbers["location"][name]["cells"]
        assert sum(cell["pruned"] for cell in cells) == masks[name].pruned
        assert sum(cell["total"] for cell in cells) == masks[name].total


def test_a_mask_is_described_by_its_provenance_and_size():
    model, _ = tiny_model("llama")
    one = subnetwork(model, "大胆", share=0.1)
    assert describe_mask(one) == {
        "persona": "大胆",
        "opposite": "extravert",
        "criterion": "contrastive-wanda",
        "base_model": "org/model",
        "pruned": sum(int((~mask).sum()) for mask in one.keep.values()),
        "total": sum(mask.numel() for mask in one.keep.values()),
        "content_hash": one.content_hash(),
    }


def test_opposites_are_so_from_either_side():
    ours, theirs, other = mask("bold", "cautious"), mask("cautious"), mask("formal", "casual")
    assert are_opposed(ours, theirs)
    assert are_opposed(theirs, ours)
    assert not are_opposed(ours, other)
    assert not are_opposed(theirs, other)
    assert not are_opposed(mask("bold", "cautious"), mask("bold", "cautious"))


def test_masks_of_two_models_are_not_compared():
    ours, theirs = (tiny_model("llama", seed=seed)[0] for seed in (0, 1))
    masks = {"a": subnetwork(ours), "b": subnetwork(theirs)}
    with pytest.raises(SubnetworkError, match="different models"):
        analyse(masks)
    assert set(analyse(masks, parts=["location"]).numbers) == {"masks", "location"}


def test_what_is_infinite_is_null():
    numbers = Findings({"a": {"z": float("inf"), "rows": [float("-inf"), 1.5]}}).to_json()
    assert numbers["masks"]["a"] == {"z": None, "rows": [None, 1.5]}
