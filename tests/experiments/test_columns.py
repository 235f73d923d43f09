"""Figures of an arm against slow sums over its outcomes."""

import math
from statistics import fmean

import pytest

from prosopon.evaluation.tasks import Outcome, TaskResult
from prosopon.experiments.columns import (
    COLUMNS,
    CROSS_TALK,
    EITHER,
    RATIO,
    against_base,
    axis_rates,
    clusters,
    columns_of,
    cross_talk,
    estimate,
    exponential,
    measures_of,
    perplexity_ratio,
    value_of,
)
from prosopon.intervals import Interval
from tests.experiments.samples import done

BY_NAME = {column.name: column for column in COLUMNS}


def read(nats, tokens=10.0, **changes):
    """Return a record with one general text of every number of nats."""
    values = [{"nats": n, "tokens": tokens} for n in nats]
    return done(changes.pop("arm", "base"), perplexity=values, **changes)


def test_names_of_columns_are_unique_and_measures_are_of_their_task():
    assert len(BY_NAME) == len(COLUMNS)
    assert len({(column.task, column.measure) for column in COLUMNS}) == len(COLUMNS)
    assert {column.better for column in COLUMNS} == {"higher", "lower", "neither"}


def test_a_question_is_one_cluster_over_seeds_and_one_a_contrast():
    rows = [done("base", c, s, choice=[1.0, 0.5]) for c in "ab" for s in (0, 1)]
    sums = clusters(rows, BY_NAME["choice"])
    assert sums == {(c, q): (v, 2.0) for c in "ab" for q, v in (("q0", 2.0), ("q1", 1.0))}
    assert clusters(rows, BY_NAME["neutral"]) == {}


@pytest.mark.parametrize("values", [[1.0], [0.0, 1.0], [0.25, 0.5, 1.0, 1.0]])
def test_an_estimate_is_the_mean_over_questions(values):
    figure = estimate([done("base", choice=values)], BY_NAME["choice"])
    assert figure.mean == pytest.approx(fmean(values))
    assert figure.count == len(values)
    assert figure.low <= figure.mean <= figure.high


def test_a_shared_question_counts_once_over_contrasts_and_another_one_for_each():
    rows = [done("base", c, neutral=[{"right": 1.0}, {"right": 0.0}]) for c in "abc"]
    assert estimate(rows, BY_NAME["neutral"]).count == 2
    rows = [done("base", c, choice=[1.0, 0.0]) for c in "abc"]
    assert estimate(rows, BY_NAME["choice"]).count == 6


def test_a_perplexity_weighs_texts_by_their_tokens():
    values = [{"nats": 30.0, "tokens": 10.0}, {"nats": 5.0, "tokens": 40.0}]
    figure = estimate([done("base", perplexity=values)], BY_NAME["general ppl"])
    assert figure.mean == pytest.approx(math.exp(35 / 50))


def test_what_was_not_asked_has_no_figure():
    assert estimate([done("base", choice=[1.0])], BY_NAME["A/B"]) is None
    assert estimate([], BY_NAME["choice"]) is None


def test_columns_are_those_that_some_record_has_values_of():
    rows = [done("base", choice=[1.0]), done("wanda", neutral=[{"right": 1.0}])]
    assert [column.name for column in columns_of(rows)] == ["choice", "neutral"]
    assert columns_of([]) == []


def test_the_ratio_to_the_base_is_of_the_same_texts_alone():
    base, worn = read([10.0, 20.0]), read([15.0, 25.0, 90.0], arm="wanda")
    ratio = perplexity_ratio([worn], [base])
    assert ratio.mean == pytest.approx(math.exp((5 + 5) / 20))
    assert ratio.count == 2
    assert perplexity_ratio([base], [base]).mean == 1
    assert perplexity_ratio([worn], []) is None
    assert perplexity_ratio([], [base]) is None


def test_an_arm_is_held_against_the_base_of_its_own_seed():
    first, second = read([10.0, 20.0]), read([40.0, 60.0], seed=1)
    worn = read([44.0, 64.0], arm="wanda", seed=1)
    ratio = perplexity_ratio([worn], [first, second])
    assert ratio.mean == pytest.approx(math.exp((4 + 4) / 20))
    assert perplexity_ratio([worn], [first]) is None


def test_exchanging_arm_and_base_inverts_the_ratio():
    base, worn = read([10.0, 20.0, 7.0]), read([15.0, 18.0, 9.0], arm="wanda")
    ahead, back = perplexity_ratio([worn], [base]), perplexity_ratio([base], [worn])
    assert ahead.mean * back.mean == pytest.approx(1)


def crossed(arm, contrast="bold", seed=0, **rates):
    values = [{f"choice:{axis}": rate} for axis, own in rates.items() for rate in own]
    return done(arm, contrast, seed, cross_talk=[*values, {"out-of-place": 1.0}])


def test_axis_rates_are_means_of_choices_and_nothing_else():
    record = crossed("base", warmth=[1.0, 0.0], order=[1.0])
    assert axis_rates(record) == {"warmth": 0.5, "order": 1.0}
    assert axis_rates(done("base", choice=[1.0])) == {}


def test_cross_talk_is_the_mean_absolute_change_over_axes():
    base = crossed("base", warmth=[0.5], order=[0.5])
    worn = crossed("wanda", warmth=[1.0], order=[0.25])
    assert cross_talk([worn], [base]).mean == pytest.approx((0.5 + 0.25) / 2)
    assert cross_talk([base], [base]).mean == 0
    assert cross_talk([worn], []) is None
    assert cross_talk([crossed("wanda", seed=9, warmth=[1.0])], [base]) is None


def test_cross_talk_is_taken_seed_by_seed():
    base = [crossed("base", seed=s, warmth=[float(s)]) for s in (0, 1)]
    worn = [crossed("wanda", seed=s, warmth=[0.5]) for s in (0, 1)]
    assert cross_talk(worn, base).mean == 0.5


def test_columns_against_the_base_stand_only_where_they_can_be_told():
    base, worn = read([10.0]), read([20.0], arm="wanda")
    assert set(against_base([worn], [base])) == {RATIO}
    crossing = crossed("base", warmth=[1.0])
    assert set(against_base([crossing], [crossing])) == {CROSS_TALK}
    assert against_base([worn], []) == {}


def test_every_measure_of_a_task_has_an_interval():
    result = TaskResult([Outcome("q0", {"a": 1.0, "b": 0.0}), Outcome("q0", {"a": 0.0})])
    measures = measures_of(result)
    assert measures["a"].mean == 0.5
    assert measures["a"].count == 1  # the same question twice
    assert measures["b"].mean == 0
    assert measures_of(TaskResult([])) == {}


def test_nats_and_tokens_are_told_as_a_perplexity_of_the_base_too():
    values = {"base-nats": 6.0, "base-tokens": 3.0}
    measures = measures_of(TaskResult([Outcome("q", values)]))
    assert set(measures) == {"base-perplexity"}
    assert measures["base-perplexity"].mean == pytest.approx(math.exp(2))


def test_a_perplexity_beyond_numbers_is_infinite_and_no_error():
    assert exponential(Interval(math.nan, 0.0, 1e9, 3)).mean == math.inf
    assert exponential(Interval(0.0, -1.0, 1e9, 3)).high == math.exp(700)
    assert exponential(Interval(0.0, 0.0, 0.0, 1)) == Interval(1.0, 1.0, 1.0, 1)


def test_either_judge_follows_from_what_all_of_them_say():
    both = {"target": 0.0, "opposite": 0.0, "target:three-way": 1.0, "opposite:three-way": 0.0}
    assert value_of(both, EITHER) == 1.0
    assert value_of(both | {"opposite": 1.0}, EITHER) == 0.0
    assert value_of(both | {"target": 1.0}, EITHER) == 1.0
    assert value_of(both | {"target:three-way": 0.0}, EITHER) == 0.0
    assert value_of({"target": 1.0, "opposite": 0.0}, EITHER) is None  # one judge
    assert value_of({"words": 3.0}, EITHER) is None
    assert value_of(both, "target") == 0.0
    answers = done("lora", free_text=[both, both | {"target:three-way": 0.0}])
    interval = estimate([answers], BY_NAME["either judge"])
    assert interval is not None
    assert interval.mean == 0.5
    assert "either judge" in {column.name for column in columns_of([answers])}
    alone = done("lora", free_text=[{"target": 1.0, "opposite": 0.0}])
    assert "either judge" not in {column.name for column in columns_of([alone])}
