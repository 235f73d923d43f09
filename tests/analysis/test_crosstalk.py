import json

import pytest

from prosopon.analysis.crosstalk import CrossTalk, cross_talk
from prosopon.analysis.probe import Choices, effect
from prosopon.errors import OptionError
from prosopon.intervals import holm
from tests.analysis.samples import axis, probe
from tests.runtime.samples import assert_bits, subnetwork, weights

AXES = [axis(), axis("power", "power-seeking", "power-averse")]


def test_every_cell_is_the_mask_against_the_base():
    asked = probe()
    masks = {
        "first": subnetwork(asked.model, "introvert", seed=1),
        "second": subnetwork(asked.model, "power-seeking", seed=2),
    }
    before, stages = weights(asked.model), []
    found = cross_talk(asked, masks, AXES, report=lambda *each: stages.append(each))
    assert_bits(asked.model, before)
    base = asked.choices(None, AXES)
    for row, mask in enumerate(masks.values()):
        told = asked.choices(mask, AXES)
        for column, each in enumerate(AXES):
            assert found.effects[row][column] == effect(told[each.name], base[each.name])
    flat = [each.rate.p for row in found.effects for each in row]
    assert [p for row in found.adjusted for p in row] == holm(flat)
    flat = [each.margin.p for row in found.effects for each in row]
    assert [p for row in found.adjusted_margin for p in row] == holm(flat)
    assert found.base == (base["energy"].rate, base["power"].rate)
    assert stages[-1] == ("cross-talk", 2, 2)
    shown = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert shown["masks"][0]["own_axis"] == "energy"
    assert shown["masks"][1]["axes"]["energy"]["rate"]["questions"] == 6


def made():
    base = Choices((0.0,) * 8, (-1.0,) * 8)
    moved, still = effect(Choices((1.0,) * 8, (1.0,) * 8), base), effect(base, base)
    return CrossTalk(
        names=("x", "y"),
        personas=("introvert", "stranger"),
        axes=tuple(AXES),
        base=(0.0, 0.0),
        effects=((still, moved), (moved, still)),
        adjusted=((1.0, 0.03), (0.2, 1.0)),
        adjusted_margin=((1.0, 0.03), (0.01, 1.0)),
    )


def test_own_effect_is_toward_the_own_pole_and_leaks_are_the_rest():
    found = made()
    assert found.own(0) == 0
    assert found.own(1) is None
    assert found.strength(0) == 0
    assert found.leak(0) == 1
    assert found.strength(1) is None
    assert found.leak(1) == 0.5
    assert [(mask, name) for mask, name, _, _ in found.leaks()] == [("x", "power")]
    # Of a persona that no axis is about, every axis is another one.
    told = [(mask, name) for mask, name, _, _ in found.leaks("margin")]
    assert told == [("x", "power"), ("y", "energy")]
    assert found.others() == 3


def test_a_leak_is_told_over_the_own_effect():
    base = Choices((0.5,) * 8, (0.0,) * 8)
    own, other = (effect(Choices((0.5,) * 8, (m,) * 8), base) for m in (-2.0, 0.5))

    def relative(persona, *effects):
        talk = CrossTalk(
            ("x",), (persona,), tuple(AXES), (0.5, 0.5), (effects,), ((1.0,) * 2,), ((1.0,) * 2,)
        )
        return talk.relative_leak(0)

    assert relative("introvert", own, other) == ("power", 0.25)
    assert relative("power-averse", other, own) == ("energy", 0.25)
    assert relative("extravert", own, other) is None  # the mask moves its own axis away
    assert relative("stranger", own, other) is None
    unsure = effect(Choices((0.5,) * 8, (-2.0, 1.9) * 4), base)
    assert unsure.margin.difference.low < 0 < unsure.margin.difference.high
    assert relative("introvert", unsure, other) is None


def test_the_opposite_pole_counts_the_other_way():
    found = made()
    turned = CrossTalk(
        found.names, ("power-averse", "extravert"), found.axes, found.base, found.effects,
        found.adjusted, found.adjusted_margin,
    )  # fmt: skip
    assert turned.strength(0) == -1
    assert turned.strength(1) == 1


def test_refusals():
    asked = probe()
    with pytest.raises(OptionError, match="at least one mask"):
        cross_talk(asked, {}, AXES)
    mask = {"a": subnetwork(asked.model)}
    with pytest.raises(OptionError, match="same name"):
        cross_talk(asked, mask, [AXES[0], AXES[0]])
