import json

import pytest

from prosopon.analysis.crosstalk import CrossTalk, cross_talk
from prosopon.analysis.probe import Choices, effect
from prosopon.errors import OptionError, SubnetworkError
from prosopon.intervals import holm
from tests.analysis.samples import axis, probe
from tests.runtime.samples import assert_bits, subnetwork, weights

AXES = [axis(), axis("power", "power-seeking", "power-averse")]


def test_every_cell_is_the_mask_against_the_base(asked):
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
    assert [p for row in found.adjusted() for p in row] == holm(flat)
    flat = [each.margin.p for row in found.effects for each in row]
    assert [p for row in found.adjusted("margin") for p in row] == holm(flat)
    assert found.base == (base["energy"].rate, base["power"].rate)
    assert stages[-1] == ("cross-talk", 2, 2)
    shown = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert shown["masks"][0]["own_axis"] == "energy"
    assert shown["masks"][1]["axes"]["energy"]["rate"]["questions"] == 6


def change(win, margin, base=(0.0, -1.0), count=8):
    """Return the effect of a mask under which all questions come out alike."""
    return effect(
        Choices((win,) * count, (margin,) * count), Choices(*((b,) * count for b in base))
    )


def sample(personas=("introvert", "stranger")):
    moved, still = change(1.0, 1.0), change(0.0, -1.0)
    return CrossTalk(
        names=("x", "y"),
        personas=personas,
        axes=tuple(AXES),
        base=(0.0, 0.0),
        effects=((still, moved), (change(0.0, 2.0), still)),
    )


def test_own_effect_is_toward_the_own_pole_and_leaks_are_the_rest():
    talk = sample()
    assert (talk.own(0), talk.own(1)) == (0, None)
    assert talk.rates == [[0.0, 1.0], [0.0, 0.0]]
    assert (talk.strength(0), talk.strength(1)) == (0, None)
    assert (talk.leak(0), talk.leak(1)) == (1, 0)
    assert [leak[:2] for leak in talk.leaks()] == [("x", "power")]
    # Of a persona that no axis is about, every axis is another one.
    assert talk.others() == [(0, 1), (1, 0), (1, 1)]


def test_margins_show_what_no_choice_does_and_the_largest_comes_first():
    leaks = sample().leaks("margin")
    assert [leak[:2] for leak in leaks] == [("y", "energy"), ("x", "power")]
    assert [leak[2].difference.mean for leak in leaks] == [3.0, 2.0]


def test_holm_is_over_the_whole_matrix():
    talk = sample()
    # All 8 questions move: a sign-flip p of 2 / 256, of 4 tests the only one.
    assert talk.adjusted() == [[1.0, pytest.approx(4 * 2 / 256)], [1.0, 1.0]]
    margins = talk.adjusted("margin")
    assert margins[0][1] == margins[1][0] == pytest.approx(4 * 2 / 256)


def test_the_opposite_pole_counts_the_other_way():
    talk = sample(("power-averse", "extravert"))
    assert talk.strength(0) == -1
    assert sample(("power-seeking", "extravert")).strength(0) == 1
    assert sample(("power-seeking", "extravert")).leak(0) == 0


def test_a_leak_relative_to_the_own_effect():
    own, other = change(0.5, -2.0, (0.5, 0.0)), change(0.5, 0.5, (0.5, 0.0))

    def relative(persona, *effects):
        axes = tuple(AXES[: len(effects)])
        return CrossTalk(("x",), (persona,), axes, (0.5, 0.5), (effects,)).relative_leak(0)

    assert relative("introvert", own, other) == ("power", 0.25)
    assert relative("power-averse", other, own) == ("energy", 0.25)
    assert relative("extravert", own, other) is None  # the mask moves its own axis away
    assert relative("stranger", own, other) is None
    assert relative("introvert", own) is None  # no other axis was asked
    unsure = effect(Choices((0.5,) * 8, (-2.0, 1.9) * 4), Choices((0.5,) * 8, (0.0,) * 8))
    assert unsure.margin.difference.low < 0 < unsure.margin.difference.high
    assert relative("introvert", unsure, other) is None
    assert relative("introvert", change(0.5, -2.0, (0.5, 0.0), count=1), other) is None


def test_json_says_what_the_matrix_says():
    talk = sample()
    shown = json.loads(json.dumps(talk.to_json()))
    assert [axis["base_rate"] for axis in shown["axes"]] == [0.0, 0.0]
    first, second = shown["masks"]
    assert (first["own_axis"], first["own_effect"], first["mean_other_effect"]) == ("energy", 0, 1)
    assert (second["own_axis"], second["own_effect"]) == (None, None)
    for row, mask in enumerate(shown["masks"]):
        for column, axis_name in enumerate(["energy", "power"]):
            for figure in ("rate", "margin"):
                cell = mask["axes"][axis_name][figure]
                paired = getattr(talk.effects[row][column], figure)
                assert cell["difference"] == paired.difference.mean
                assert cell["p_holm"] == talk.adjusted(figure)[row][column]
                assert cell["questions"] == 8


def test_one_mask_on_its_own_axis_alone_leaks_nowhere():
    talk = CrossTalk(("x",), ("introvert",), (AXES[0],), (0.0,), ((change(1.0, 1.0),),))
    assert talk.leak(0) is None
    assert talk.leaks() == talk.others() == []
    assert talk.strength(0) == -1


def test_refusals(asked):
    with pytest.raises(OptionError, match="at least one mask"):
        cross_talk(asked, {}, AXES)
    mask = {"a": subnetwork(asked.model)}
    with pytest.raises(OptionError, match="one axis"):
        cross_talk(asked, mask, [])
    with pytest.raises(OptionError, match="same name"):
        cross_talk(asked, mask, [AXES[0], AXES[0]])
    with pytest.raises(SubnetworkError, match="does not belong"):
        cross_talk(probe(seed=1), mask, AXES)
