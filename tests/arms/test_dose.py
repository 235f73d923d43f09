"""The dose of an arm: the largest that general text bears, found by few measurements."""

import math
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from prosopon.arms import ARMS
from prosopon.arms.base import Cost
from prosopon.arms.dose import (
    FACTOR,
    LEAST,
    MOST,
    STEPS,
    Candidate,
    Dialable,
    Doses,
    ScaleDial,
    general_rise,
)
from prosopon.errors import OptionError
from prosopon.lm import text_losses
from tests.arms.samples import same_weights, tiny_lab, weights_of


class Noise:
    """An arm that adds noise to every site, as many times as its scale says."""

    def __init__(self, lab, size=0.05):
        self.lab, self.scales = lab, []
        generator = torch.Generator().manual_seed(5)
        self.steps = [
            (site, size * torch.randn(site.shape, generator=generator))
            for site in lab.extractor.sites
        ]

    @contextmanager
    def wear(self, scale):
        self.scales.append(scale)
        before = [site.matrix().clone() for site, _ in self.steps]
        try:
            with torch.no_grad():
                for site, step in self.steps:
                    site.matrix().add_(scale * step)
            yield
        finally:
            with torch.no_grad():
                for (site, _), weight in zip(self.steps, before, strict=True):
                    site.matrix().copy_(weight)

    def rise(self, scale):
        texts = self.lab.extractor.held_out()
        base, tokens = text_losses(self.lab.model, texts, every=True)
        with self.wear(scale):
            worse, _ = text_losses(self.lab.model, texts, every=True)
        return (worse - base) / tokens


@pytest.fixture(scope="module")
def lab():
    return tiny_lab()


def doses_of(lab, arm):
    return Doses(general_rise(lab)(arm.wear))


def test_it_is_what_a_fine_scan_finds(lab):
    arm = Noise(lab)
    scales = [LEAST * (MOST / LEAST) ** (i / 30) for i in range(31)]
    rises = [arm.rise(scale) for scale in scales]
    limit = max(rises) / 3
    first = next(i for i, rise in enumerate(rises) if rise > limit)
    scale, cost = doses_of(lab, arm).largest(limit)
    assert cost <= limit
    assert scales[max(0, first - 1)] * 0.9 <= scale <= scales[first]
    assert arm.rise(scale) == pytest.approx(cost, abs=1e-6)


def test_limits_that_no_scale_or_every_scale_keeps_to(lab):
    arm = Noise(lab)
    assert doses_of(lab, arm).largest(1e9)[0] == MOST
    assert arm.scales == [1.0, FACTOR, FACTOR**2, MOST]
    scale, cost = doses_of(lab, arm).largest(-1e9)
    assert scale == LEAST
    assert cost == pytest.approx(arm.rise(LEAST), abs=1e-6)


def test_the_model_is_as_before_also_after_an_exception(lab):
    arm, before = Noise(lab), weights_of(lab.model)
    doses_of(lab, arm).largest(0.01)
    assert same_weights(lab.model, before)

    def stop(scale):
        if arm.scales:
            raise KeyboardInterrupt
        return arm.wear(scale)

    arm.scales.clear()
    with pytest.raises(KeyboardInterrupt):
        Doses(general_rise(lab)(stop)).largest(0.01)
    assert same_weights(lab.model, before)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("limit", [0.02, 0.05, 0.1])
def test_a_power_law_is_found_by_few_measurements(power, limit):
    tried = []

    def rise(dose):
        tried.append(dose)
        return 0.3 * dose**power

    dose, cost = Doses(rise).largest(limit)
    best = (limit / 0.3) ** (1 / power)
    assert 0.9 * limit <= cost <= limit or dose == LEAST
    assert dose <= best or dose == LEAST
    assert len(tried) <= 6
    assert len(tried) == len(set(tried))


def test_three_limits_share_what_was_measured():
    tried = []

    def rise(dose):
        tried.append(dose)
        return 0.3 * dose * dose

    doses = Doses(rise)
    found = [doses.largest(limit)[0] for limit in (0.02, 0.05, 0.1)]
    assert found == sorted(found)
    shared = len(tried)
    for limit in (0.02, 0.05, 0.1):
        Doses(rise).largest(limit)
    assert shared < len(tried) - shared
    assert doses.largest(0.05)[0] == found[1]


def test_a_model_that_breaks_is_beyond_every_limit():
    said = []
    steep = Doses(lambda dose: math.nan if dose > 0.3 else 0.1 * dose, report=said.append)
    dose, cost = steep.largest(1.0)
    assert 0.29 < dose <= 0.3
    assert cost == pytest.approx(0.1 * dose)
    assert (said[0], said[-1]) == (0, STEPS)
    assert steep.rise(1.0) == math.inf


def test_beyond_a_harmful_dose_nothing_is_believed():
    def rise(dose):
        return -1.0 if dose > 2 else dose  # a model may forget the test as well

    assert Doses(rise, start=0.1).largest(0.5)[0] < 0.5
    assert Doses(rise, start=8.0).largest(0.5)[0] == MOST
    assert Doses(rise, factor=1000.0).largest(0.5)[0] < 0.5


def test_a_start_beyond_all_is_walked_back_from():
    dose, _ = Doses(lambda dose: dose, start=1e6, least=1e-12, most=1e12).largest(1e-3)
    assert 0.9e-3 <= dose <= 1e-3


def test_of_several_places_the_one_with_the_largest_margin_is_taken(lab):
    arm = Noise(lab)
    worn = []

    @contextmanager
    def place(name, scale):
        worn.append(name)
        with arm.wear(scale):
            yield
        worn.pop()

    names = ("low", "high")
    candidates = [
        Candidate(
            lambda scale, name=name: place(name, scale),
            lambda scale, name=name: place(f"{name} trial", scale),
            {"place": name},
        )
        for name in names
    ]
    dial = ScaleDial(
        lab, candidates, Cost(3.0, 7), lambda: float(worn[-1] == "high trial"), name="dose"
    )
    found = [dial.within(limit) for limit in (0.01, 0.05)]
    for ready, limit in zip(found, (0.01, 0.05), strict=True):
        details = ready.cost.details
        assert details["place"] == "high"
        assert details["general_loss"] <= limit
        assert [trial["margin"] for trial in details["trials"]] == [0.0, 1.0]
        assert (ready.cost.seconds > 3, ready.cost.bytes) == (True, 7)
        with ready.speaking():
            assert worn == ["high"]
    assert found[0].cost.details["dose"] < found[1].cost.details["dose"]
    assert dial.at(2.0).cost == Cost(3.0, 7, {"place": "low", "dose": 2.0})


def test_without_general_text_there_is_no_dose(lab, monkeypatch):
    monkeypatch.setattr(lab.extractor, "held_out", list)
    with pytest.raises(OptionError, match="--general needs at least 4 texts"):
        general_rise(lab)


QUICK = {
    "lora": {"steps": 4, "r": 1, "lr": 0.01},
    "weight-steering": {"steps": 4, "r": 1, "lr": 0.01},
    "contrastive-lora": {"steps": 4, "r": 1, "lr": 0.01},
    "steering": {},
    "steer2edit": {},
}


@pytest.mark.parametrize("name", QUICK)
def test_one_training_serves_every_level(name, lab, monkeypatch):
    said = []
    monkeypatch.setattr(lab.extractor, "report", lambda *given: said.append(given[0]))
    lab = replace(lab, options=QUICK[name] | {"max_loss": 0})
    arm = ARMS.get(name)
    assert isinstance(arm, Dialable)
    dial = arm.dial(lab)
    before, trained = weights_of(lab.model), len(said)
    levels = (0.005, 0.02)
    costs = [dial.within(level).cost.details for level in levels]
    assert not any("training" in stage for stage in said[trained:])
    assert all(cost["general_loss"] <= level for cost, level in zip(costs, levels, strict=True))
    assert same_weights(lab.model, before)
    ready = arm.prepare(replace(lab, options=QUICK[name] | {"max_loss": levels[0]}))
    dose = "multiplier" if name == "steering" else "scale"
    assert ready.cost.details[dose] == pytest.approx(costs[0][dose])
    texts = lab.extractor.held_out()
    base, tokens = text_losses(lab.model, texts, every=True)
    with ready.speaking():
        worse, _ = text_losses(lab.model, texts, every=True)
    assert (worse - base) / tokens == pytest.approx(costs[0]["general_loss"], abs=1e-4)
