import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from prosopon.analysis.faithfulness import Faithfulness, Point, faithfulness
from prosopon.analysis.parts import prefix
from prosopon.analysis.probe import ProbeAxis
from prosopon.data.questions import ChoiceItem
from prosopon.errors import OptionError
from prosopon.evaluation import perplexity
from prosopon.models import find_sites
from prosopon.runtime import worn
from prosopon.subnetwork import complement
from tests.analysis.samples import axis
from tests.runtime.samples import assert_bits, subnetwork, weights


@pytest.fixture(scope="module")
def tested(asked):
    before = weights(asked.model)
    mask = subnetwork(asked.model, "introvert", seed=1, share=0.2, ranked=True)
    other = subnetwork(asked.model, "extravert", seed=2, share=0.2)
    stages = []
    found = faithfulness(
        asked, "mine", mask, axis(), opposite=other, shares=(0.5, 0.1), draws=2,
        report=lambda *each: stages.append(each),
    )  # fmt: skip
    assert_bits(asked.model, before)
    return asked, mask, other, found, stages


def test_arms_measure_what_their_name_says(tested):
    asked, mask, other, found, stages = tested
    arms = {arm.name: arm for arm in found.arms}
    assert list(arms) == [
        "whole", "only attention", "only mlp",
        "only layer 0", "without layer 0", "layer 0 from the opposite",
        "only layer 1", "without layer 1", "layer 1 from the opposite",
        "opposite", "elsewhere", "elsewhere, same size",
    ]  # fmt: skip
    assert stages[-1] == ("faithfulness mine", len(stages), len(stages))
    base = asked.choices(None, [axis()])["energy"]
    # The persona is the axis' opposite pole: effects count the other way.
    assert found.base_rate == pytest.approx(1 - base.rate)
    for name, one in (("whole", mask), ("opposite", other)):
        told = asked.choices(one, [axis()])["energy"]
        assert arms[name].effect.margin.difference.mean == pytest.approx(base.margin - told.margin)
        with worn(asked.model, asked.tokenizer, one):
            loss = perplexity(asked.model, asked.general)
        assert arms[name].perplexity_ratio == pytest.approx(loss / found.base_perplexity)
    assert arms["whole"].faithful == pytest.approx(1)
    assert arms["only mlp"].pruned + arms["only attention"].pruned == mask.pruned
    assert arms["only layer 0"].pruned == arms["without layer 1"].pruned
    assert arms["only layer 0"].effect == arms["without layer 1"].effect
    assert arms["elsewhere"].pruned == arms["elsewhere, same size"].pruned == mask.pruned
    assert len(arms["elsewhere"].draws) == 2
    mean = np.mean(arms["elsewhere"].draws)
    assert arms["elsewhere"].effect.margin.difference.mean == pytest.approx(mean)


def test_curves_go_from_the_base_to_the_whole_mask(tested):
    _, _, _, found, _ = tested
    assert set(found.curves) == {"ranking", "random"}
    whole = next(arm for arm in found.arms if arm.name == "whole")
    for points in found.curves.values():
        assert [round(p.share, 1) for p in points] == [0.0, 0.1, 0.5, 1.0]
        assert points[0].rate == found.base_rate
        assert points[-1].rate - points[0].rate == pytest.approx(whole.effect.rate.difference.mean)
    json.dumps(found.to_json(), allow_nan=False)
    assert found.mean_size["elsewhere, same size"] == pytest.approx(
        found.mean_size["whole"], rel=0.1
    )


def made(points):
    return Faithfulness("x", "extravert", 0.1, axis(), 0.5, 9.0, (), {"ranking": points})


def test_summaries_of_a_curve():
    def points(*margins):
        return tuple(
            Point(share, 0.5, margin, 1.0)
            for share, margin in zip((0.0, 0.2, 1.0), margins, strict=True)
        )

    even = made(points(-1.0, -0.6, 1.0))
    assert even.area("ranking") == pytest.approx(0.5)
    assert even.top_share() == pytest.approx(0.1)
    early = made(points(0.0, 2.0, 2.0))
    assert early.area("ranking") == pytest.approx(0.9)
    assert early.top_share() == pytest.approx(0.5)
    still = made(points(1.0, 2.0, 1.0))
    assert still.area("ranking") is None
    assert still.top_share() is None
    assert even.area("random") is None
    unsure = replace(even, moves=False)
    assert unsure.area("ranking") is None
    assert unsure.top_share() is None


def test_an_arm_that_cannot_be_is_named(tested):
    asked, mask, _, _, _ = tested
    heavy = complement(mask, name="introvert")
    found = faithfulness(asked, "heavy", heavy, axis(), shares=(0.5,), draws=1)
    assert "not left to draw from" in found.refused["elsewhere"]
    assert set(found.curves) == {"random"}
    assert "elsewhere" not in [arm.name for arm in found.arms]


def test_shares_of_an_effect_that_may_be_none_are_not_given(tested):
    asked, mask, _, _, _ = tested
    one = axis(count=1)  # a single question has no interval
    found = faithfulness(asked, "x", mask, one, shares=(0.5,), draws=1)
    assert not found.moves
    assert all(arm.faithful is None for arm in found.arms)
    assert found.area("ranking") is None


def test_refusals(tested):
    asked, mask, _, _, _ = tested
    with pytest.raises(OptionError, match="no pole of the axis 'power'"):
        faithfulness(asked, "x", mask, axis("power", "power-seeking", "power-averse"))
    with pytest.raises(OptionError, match="between 0 and 1"):
        faithfulness(asked, "x", mask, axis(), shares=(1.0,))
    with pytest.raises(OptionError, match="at least one draw"):
        faithfulness(asked, "x", mask, axis(), draws=0)
    with pytest.raises(OptionError, match="prunes nothing"):
        faithfulness(asked, "x", mask.at_strength(0), axis())


def test_exchanged_poles_give_the_same_test(tested):
    """The persona is the opposite pole of one axis and the target of the exchanged one."""
    asked, mask, _, found, _ = tested
    one = axis()
    items = tuple(ChoiceItem(i.prompt, i.not_matching, i.matching) for i in one.items)
    turned = ProbeAxis("turned", one.opposite, one.target, items)
    other = faithfulness(asked, "mine", mask, turned, shares=(0.1,), draws=1)
    assert other.base_rate == pytest.approx(found.base_rate)
    ours, theirs = found.whole.effect, other.whole.effect
    assert theirs.rate.difference.mean == pytest.approx(ours.rate.difference.mean)
    assert theirs.margin.difference.mean == pytest.approx(ours.margin.difference.mean, abs=1e-5)
    assert other.whole.perplexity_ratio == pytest.approx(found.whole.perplexity_ratio)


def test_a_point_is_what_the_part_does(tested):
    asked, mask, _, found, _ = tested
    part = prefix(mask, 0.5, ranked=True)
    choices, perplexity_there = asked.measure(part, axis())
    point = found.curves["ranking"][2]
    assert point.share == part.pruned / mask.pruned
    assert point.rate == pytest.approx(1 - choices.rate)
    assert point.margin == pytest.approx(-choices.margin)
    assert point.perplexity_ratio == pytest.approx(perplexity_there / found.base_perplexity)


def test_sizes_are_means_over_pruned_weights(tested):
    asked, mask, _, found, _ = tested
    every, gone = [], []
    for site in find_sites(asked.model):
        size = site.matrix().detach().double().abs()
        every.append(size.flatten())
        gone.append(size[~mask.keep[site.name]])
    wanted = float(torch.cat(gone).mean() / torch.cat(every).mean())
    assert found.mean_size["whole"] == pytest.approx(wanted)
    assert set(found.mean_size) == {"whole", "elsewhere", "elsewhere, same size"}


def test_json_holds_arms_curves_and_summaries(tested):
    _, _, _, found, _ = tested
    shown = json.loads(json.dumps(found.to_json()))
    assert (shown["mask"], shown["persona"], shown["axis"]) == ("mine", "introvert", "energy")
    assert [arm["arm"] for arm in shown["arms"]] == [arm.name for arm in found.arms]
    for arm, kept in zip(shown["arms"], found.arms, strict=True):
        assert arm["margin"]["difference"] == kept.effect.margin.difference.mean
        assert arm["share_of_effect"] == kept.faithful
        assert arm["margin_by_draw"] == list(kept.draws)
    for order, curve in shown["curves"].items():
        assert set(curve["points"][0]) == {"share", "rate", "margin", "perplexity_ratio"}
        assert len(curve["points"]) == len(found.curves[order])
        assert curve["area"] == found.area(order)
        assert curve["share_of_effect_of_first_tenth"] == found.top_share(order)


def test_a_run_repeats_and_its_seed_draws_other_controls(tested):
    asked, mask, _, _, _ = tested
    few = axis(count=2)
    first, again, other = (
        faithfulness(asked, "x", mask, few, shares=(0.5,), draws=1, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again
    arms = [{arm.name: arm.draws for arm in one.arms} for one in (first, other)]
    assert arms[0]["whole"] == arms[1]["whole"]
    assert arms[0]["elsewhere"] != arms[1]["elsewhere"]
