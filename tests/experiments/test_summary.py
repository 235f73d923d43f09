"""Rows of the table and tests between arms, against means worked out by hand."""

import dataclasses
import math
from statistics import fmean

import pytest

from prosopon.experiments.columns import COLUMNS
from prosopon.experiments.summary import Comparison, summarise
from prosopon.experiments.words import conclusions, remarks, sentence
from prosopon.intervals import Interval, holm
from tests.experiments.samples import done

MANY = 40


def rates(*shares):
    """Return a base, a prompt, a mask and a control with these choice rates of many questions."""
    arms = ("base", "prompt", "wanda", "random")
    return [
        done(arm, choice=[float(i < share * MANY) for i in range(MANY)])
        for arm, share in zip(arms, shares, strict=False)
    ]


def test_no_records_give_an_empty_summary():
    empty = summarise([])
    assert (empty.columns, empty.rows, empty.comparisons) == ((), (), ())
    assert empty.headings() == empty.counts() == {}
    assert empty.to_json() == {"columns": [], "rows": [], "comparisons": []}


def test_a_row_says_whose_it_is():
    rows = [
        dataclasses.replace(done("wanda", c, s, 8, choice=[1.0]), label="wanda 0.4")
        for c in "ab" for s in (0, 1, 2)
    ]  # fmt: skip
    (row,) = summarise(rows).rows
    assert (row.arm, row.registered, row.kind) == ("wanda 0.4", "wanda", "mask")
    assert (row.contrasts, row.seeds, row.examples) == (2, 3, 8)


def test_figures_over_seeds_are_means_of_each_seed_s_figure():
    rows = [done("base", c, seed, choice=[float(seed == 1), 1.0]) for c in "ab" for seed in (0, 1)]
    (row,) = summarise(rows).rows
    spread = row.over_seeds["choice"]
    assert (spread.mean, spread.count) == (0.75, 2)
    assert summarise(rows[:1]).rows[0].over_seeds == {}
    assert row.figures["choice"].mean == 0.75


def test_costs_are_means_and_what_nobody_measured_is_none():
    rows = [
        done("wanda", "a", speed={"answer": 1.0}, details={"pruned_share": 0.25}),
        done("wanda", "b", speed={"answer": 2.0}),
    ]
    (row,) = summarise(rows).rows
    assert row.costs["seconds"] == 2.0
    assert row.costs["answer"] == 1.5
    assert row.costs["pruned_share"] == 0.125
    assert row.costs["first_token"] is None


def test_arms_are_tested_against_base_and_prompt_each_with_its_own_family():
    summary = summarise(rates(0.5, 1.0, 0.8, 0.5))
    pairs = [(t.arm, t.against) for t in summary.comparisons]
    assert pairs == [
        ("prompt", "base"), ("wanda", "base"), ("random", "base"),
        ("base", "prompt"), ("wanda", "prompt"), ("random", "prompt"),
    ]  # fmt: skip
    for family in (summary.comparisons[:3], summary.comparisons[3:]):
        assert [t.adjusted for t in family] == pytest.approx(holm([t.p for t in family]))


def test_a_difference_is_the_mean_of_the_questions_differences():
    summary = summarise(rates(0.25, 0.75))
    (test, back) = summary.comparisons
    assert test.difference.mean == pytest.approx(0.5)
    assert back.difference.mean == pytest.approx(-0.5)
    assert test.questions == MANY
    assert test.effect == pytest.approx(-back.effect)
    assert test.effect == pytest.approx(
        2 * math.asin(math.sqrt(0.75)) - 2 * math.asin(math.sqrt(0.25))
    )
    assert test.shown
    assert back.shown


def test_arms_that_do_the_same_show_nothing():
    (test, _) = summarise(rates(0.5, 0.5)).comparisons
    assert (test.difference.mean, test.p, test.adjusted) == (0, 1, 1)
    assert not test.shown


def test_only_questions_that_both_were_asked_are_compared():
    base = done("base", choice=[0.0, 0.0])
    longer = done("wanda", choice=[1.0, 1.0, 0.0, 0.0])
    (test,) = summarise([base, longer]).comparisons
    assert (test.questions, test.difference.mean) == (2, 1.0)
    elsewhere = done("wanda", "calm", choice=[1.0])
    assert summarise([base, elsewhere]).comparisons == ()


def test_a_question_that_all_contrasts_share_is_one_question():
    def skills(arm, values):
        return [
            done(arm, c, neutral=[{"right": v} for v in own])
            for c, own in zip("ab", values, strict=True)
        ]

    base, worn = skills("base", ([1, 1], [1, 1])), skills("wanda", ([0, 1], [1, 1]))
    (test,) = summarise([*base, *worn]).comparisons
    assert test.questions == 2
    assert test.difference.mean == pytest.approx(fmean([0.5, 1.0]) - 1)


def test_a_perplexity_is_tested_in_nats_with_a_size_of_effect_of_its_own():
    def read(arm, extra):
        values = [{"nats": 10.0 + i + extra * (1 + i % 2), "tokens": 10.0} for i in range(12)]
        return done(arm, perplexity=values)

    (test,) = summarise([read("base", 0.0), read("wanda", 1.0)]).comparisons
    assert test.column == "general ppl"
    assert test.difference.mean == pytest.approx(0.15)
    assert test.effect > 1


def test_counts_are_the_least_and_the_most_of_a_column():
    rows = [done("base", choice=[1.0] * 3), done("wanda", choice=[1.0] * 5)]
    assert summarise(rows).counts() == {"choice": "3-5"}
    assert summarise(rows[:1]).counts() == {"choice": "3"}


def test_headings_are_columns_and_what_stands_against_the_base():
    rows = [done(arm, perplexity=[{"nats": 1.0, "tokens": 1.0}]) for arm in ("base", "wanda")]
    assert list(summarise(rows).headings()) == ["general ppl", "ppl ratio"]
    assert list(summarise(rows[1:]).headings()) == ["general ppl"]


def comparison(mean, low, high, adjusted, column="choice", against="base"):
    gap = Interval(mean, low, high, 10)
    return Comparison(column, "wanda", against, gap, adjusted, adjusted, None, None, 10)


@pytest.mark.parametrize(
    ("test", "shown", "words"),
    [
        (comparison(0.3, 0.2, 0.4, 0.01), True, "choice rate: higher than base (+0.300"),
        (comparison(-0.3, -0.4, -0.2, 0.0), True, "Holm p < 0.001"),
        (comparison(-0.3, -0.4, -0.2, 0.01), True, "lower than base (-0.300"),
        (comparison(0.3, -0.1, 0.4, 0.01), False, "no difference shown against base"),
        (comparison(0.3, 0.2, 0.4, 0.05), False, "no difference shown"),
        (comparison(0.3, 0.0, 0.4, 0.01), False, "no difference shown"),
        (comparison(0.3, 0.2, 0.4, 0.01, "mine", "prompt"), True, "mine: higher than prompt"),
    ],
)
def test_a_sentence_is_no_stronger_than_its_test(test, shown, words):
    assert test.shown == shown
    assert words in sentence(test)


def test_conclusions_are_of_arms_that_carry_a_persona_and_of_telling_controls():
    summary = summarise(rates(0.5, 1.0, 0.9, 1.0))
    pages = dict(conclusions(summary))
    assert list(pages) == ["prompt", "wanda", "controls"]
    assert pages["controls"][0].startswith("random alone gives a choice rate of 1.000")
    assert all("choice rate" in line for line in pages["wanda"])
    assert dict(conclusions(summarise(rates(0.5, 1.0, 0.9, 0.5)))).keys() == {"prompt", "wanda"}


def test_a_column_in_which_controls_do_as_well_as_any_arm_is_named():
    mute = remarks(summarise(rates(1.0, 1.0, 0.99, 1.0)))
    assert (
        "choice: the base and every control have the arms' figure (1.000 and more, against 1.000 "
        "at most): the column measures nothing of the persona here."
    ) in mute
    for telling in (rates(0.9, 1.0, 0.99, 1.0), rates(1.0, 1.0, 0.99, 0.9)):
        assert not any("measures nothing" in line for line in remarks(summarise(telling)))


def test_an_idle_arm_is_named_and_a_column_that_is_lower_when_better_is_not_judged():
    rows = rates(0.5, 0.5, 0.9, 0.4)
    assert remarks(summarise(rows)) == [
        "prompt: equal to base in every column: it changed no answer that was asked for."
    ]
    assert remarks(summarise(rows[1:])) == []
    assert {c.name for c in COLUMNS if c.loss} >= {"neutral", "general ppl"}
