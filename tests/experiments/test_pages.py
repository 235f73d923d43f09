"""Table, figures and page of a few records made by hand."""

import html
import math
import re
from dataclasses import replace

import pytest

from prosopon.experiments.curves import curve
from prosopon.experiments.figures import KIND_COLOURS, MARKERS, across, by_contrast, costs, frontier
from prosopon.experiments.markdown import COSTS, cost, extent_of, grid, markdown, show, spread
from prosopon.experiments.plan import KINDS
from prosopon.experiments.report import report, sections
from prosopon.experiments.summary import summarise
from prosopon.intervals import Interval
from tests.experiments.samples import done


def whole(arm, target, nats, **changes):
    texts = [{"target": t, "opposite": 1 - t, "neither": 0.0} for t in target]
    general = [{"nats": n, "tokens": 10.0} for n in nats]
    speed = {"added_tokens": 3.0, "answer": 0.5}
    return done(arm, speed=speed, free_text=texts, perplexity=general, **changes)


RECORDS = [
    whole("base", [0.0, 1.0], [10.0, 12.0]),
    whole("prompt", [1.0, 1.0], [10.0, 12.0]),
    whole("wanda", [1.0, 0.0], [11.0, 14.0], details={"pruned_share": 0.3}),
    whole("random", [0.0, 0.0], [60.0, 70.0], details={"pruned_share": 0.3}),
]


@pytest.fixture(scope="module")
def summary():
    return summarise(RECORDS)


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (None, "-"),
        (Interval(0.5, 0.25, 0.75, 4), "0.500 [0.250, 0.750]"),
        (Interval(0.5, 0.5, 0.5, 1), "0.500"),
        (Interval(-1.0, -2.0, 0.0, 2), "-1.000 [-2.000, 0.000]"),
    ],
)
def test_a_figure_for_people(interval, text):
    assert show(interval) == text


def test_a_spread_over_seeds():
    assert spread(None) == "-"
    assert spread(Interval(0.5, 0.25, 0.75, 2)) == "0.500 ± 0.250"
    assert spread(Interval(0.5, 0.25, 0.75, 2), 1) == "0.5 ± 0.2"
    assert spread(Interval(0.5, math.nan, math.nan, 1)) == "0.500"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("seconds", None, "-"), ("seconds", 0.0, "0"), ("seconds", 0.0042, "< 0.01"),
        ("seconds", 61.237, "61.24"), ("bytes", 1234567.0, "1,234,567"),
        ("pruned_share", 0.00312, "0.31%"), ("added_tokens", 0.0, "0"),
        ("tokens_per_second", 1999.6, "2,000"),
    ],
)  # fmt: skip
def test_a_cost_for_people(name, value, text):
    assert cost(name, value) == text


def test_a_bar_in_a_cell_does_not_end_it():
    head, rule, row = grid(["arm", "choice"], [["a|b", "1"]])
    assert [line.count("|") for line in (head, rule, row)] == [3, 3, 3]
    assert "a/b" in row


def test_the_extent_is_a_sentence():
    assert extent_of(summarise(RECORDS)) == "4 arms, 1 contrast, 1 seed."
    assert extent_of(summarise([])) == "0 arms, 0 contrasts, 0 seeds."


def test_the_table_holds_every_arm_column_and_cost(summary):
    page = markdown(summary, RECORDS, ["only a few were asked"])
    lines = page.splitlines()
    assert lines[0] == "# Comparison"
    assert lines[2].endswith("Only a few were asked.")
    head = next(line for line in lines if line.startswith("| arm | text: target"))
    rows = [line for line in lines if line.startswith("| wanda |")]
    assert len(rows) == 2  # figures and costs
    assert rows[0].count("|") == head.count("|")
    for name, text in {**summary.headings(), **COSTS}.items():
        assert f"*{name}*" in page
        assert text in page
    assert "## Not measured" not in page


def test_every_kind_has_a_colour_and_a_marker():
    assert set(KIND_COLOURS) == set(MARKERS) == set(KINDS)
    assert len(set(KIND_COLOURS.values())) == len(KINDS)


def words_of(svg):
    """Return the texts of a figure; their letters are drawn, and each text is a comment."""
    return {html.unescape(text) for text in re.findall(r"<!-- (.*?) -->", svg)}


def test_the_frontier_names_every_arm(summary):
    words = words_of(frontier(summary))
    assert {row.arm for row in summary.rows} <= words
    assert frontier(summarise(RECORDS[1:])) is None  # nothing to compare with
    assert frontier(summarise([done("base", choice=[1.0])])) is None


def test_a_broken_model_stands_at_the_edge():
    assert across(1) == 0
    assert across(3) == across(1e9) > across(2.9)
    assert across(0.5) == pytest.approx(-across(1.5))


def test_arms_by_contrasts_show_what_was_asked():
    rows = [*RECORDS, whole("base", [1.0, 1.0], [10.0], contrast="calm")]
    words = words_of(by_contrast(rows))
    assert {"bold", "calm", "base", "wanda", "0.50", "1.00"} <= words
    assert by_contrast(rows, "choice") is None
    assert by_contrast([]) is None


def test_a_long_name_leaves_room_for_the_map():
    name = "contrastive-lora lr=0.003 epochs=2 batch=4 at 0.05"
    row = replace(whole("base", [0.0, 1.0], [10.0]), label=name)
    assert name.split()[1] in by_contrast([row])  # a warning of matplotlib's is an error here


def test_bars_of_costs_are_of_arms_that_write(summary):
    words = words_of(costs(summary))
    assert {"seconds to make", "bytes to keep", "base", "random"} <= words
    assert costs(summarise([done("base", choice=[1.0])])) is None


def test_a_curve_takes_two_points_of_one_arm():
    points = [whole("wanda", [1.0, 0.0], [11.0], examples=count) for count in (8, 16, 32)]
    assert curve(summarise([RECORDS[0], *points[:1]]), "examples") is None
    words = words_of(curve(summarise([RECORDS[0], *points]), "examples"))
    assert {"wanda", "base", "calibration examples a side"} <= words
    assert curve(summarise([RECORDS[0], *points]), "sparsity") is None


def test_the_report_has_a_part_for_every_figure(summary):
    figures = sections(summary, RECORDS)
    assert [figure.id for figure in figures] == ["frontier", "personas", "cost-bars"]
    page = report(
        summary, RECORDS, figures, title="A <title>", lead="Lead.", command="prosopon x",
        settings={"model": "tiny"},
    )  # fmt: skip
    assert "A &lt;title&gt;" in page
    for figure in figures:
        assert page.count(f'id="{figure.id}"') == 1
        assert figure.svg in page
    assert page.index('id="frontier"') < page.index('id="conclusions"') < page.index('id="costs"')
