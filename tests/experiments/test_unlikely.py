"""Answers that the base finds unlikelier than nearly all of its own."""

import pytest

from prosopon.experiments.frontier import frontier_points
from prosopon.experiments.unlikely import unlikely_shares
from tests.experiments.samples import done


def record(arm, nats, contrast="bold", target=(1.0,), tokens=16.0):
    """Return an arm whose answers cost so many nats a token."""
    rows = [
        {"target": target[i % len(target)], "base-nats": value * tokens, "base-tokens": tokens}
        for i, value in enumerate(nats)
    ]
    return done(arm, contrast, free_text=rows)


BASE = record("base", [2.0 + 0.05 * i for i in range(40)])  # up to 3.95; 5% lie above 3.85


def test_the_base_is_beyond_its_own_limit_five_times_in_a_hundred():
    unlikely, target = unlikely_shares([BASE], [BASE])
    assert unlikely.mean == 2 / 40
    assert target.mean == 38 / 40


def test_likely_answers_on_target_are_counted_alone():
    arm = record("lora", [3.0, 3.0, 5.0, 5.0], target=(1.0, 0.0))
    unlikely, target = unlikely_shares([arm], [BASE])
    assert (unlikely.mean, target.mean) == (0.5, 0.25)
    assert unlikely.low < 0.5 < unlikely.high


def test_short_answers_may_cost_more_a_token():
    short, long = (record("lora", [4.2] * 3, tokens=tokens) for tokens in (2.0, 160.0))
    assert unlikely_shares([short], [BASE])[0].mean == 0.0
    assert unlikely_shares([long], [BASE])[0].mean == 1.0


def test_an_empty_answer_is_unlikely():
    empty = done("lora", free_text=[{"target": 0.0, "base-nats": 0.0, "base-tokens": 0.0}])
    assert unlikely_shares([empty], [BASE])[0].mean == 1.0


def test_every_contrast_has_a_limit_of_its_own():
    terse = record("base", [6.0 + 0.05 * i for i in range(40)], "formal")
    arms = [record("lora", [5.0] * 2), record("lora", [5.0] * 2, "formal")]
    assert unlikely_shares(arms, [BASE, terse])[0].mean == 0.5


@pytest.mark.parametrize("base", [[], [done("base", choice=[{"per-token": 1.0}])]])
def test_without_the_bases_own_answers_nothing_is_said(base):
    assert unlikely_shares([record("lora", [3.0])], base) == (None, None)


def test_it_stands_in_the_table_at_equal_loss():
    import dataclasses

    arm = record("lora", [5.0, 3.0], target=(0.0, 1.0))
    arm = dataclasses.replace(arm, cell=dataclasses.replace(arm.cell, at_loss=0.02))
    point = next(p for p in frontier_points([BASE, arm]) if p.arm == "lora")
    assert (point.unlikely.mean, point.likely_target.mean) == (0.5, 0.5)
    assert point.cells[-3:-1] == [point.unlikely, point.likely_target]
