"""Persona against loss: levels in the plan, one learning for all, points, table, figure."""

import dataclasses
import itertools
import json
import math

import pytest

from prosopon.arms import ARMS
from prosopon.errors import OptionError
from prosopon.experiments import Plan, Sizes, summarise, write_results
from prosopon.experiments.frontier import HELP, _write_names, draw_frontier, frontier_points
from prosopon.experiments.markdown import frontier_table
from prosopon.experiments.plan import Cell
from prosopon.experiments.records import Record
from prosopon.experiments.report import sections
from prosopon.experiments.store import content_key
from tests.experiments.samples import done

LEVELS = (0.02, 0.1)
PLAN = Plan(
    ("bold",), ("base", "steering", "random"), ("choice", "perplexity"), (8,), (0,),
    Sizes(4, 4, general=4, speed=0), {"steering": ({"layer": "1"},)}, controls=False,
    at_loss=LEVELS,
)  # fmt: skip


def answers(arm, gain=0.0, loss=0.0, target=0.5, level=0.0, contrast="bold"):
    """Return a record of four questions and four general texts of two tokens."""
    share = round(4 * target)
    record = done(
        arm, contrast,
        details={"general_loss": 0.9 * level} if level else {},
        label=f"{arm} at {level:g}" if level else arm,
        choice=[{"per-token": 1.0, "margin": -0.5 + 0.1 * i + gain} for i in range(4)],
        free_text=[{"target": float(i < share), "neither": 0.0} for i in range(4)],
        perplexity=[{"nats": 2 * (3.0 + 0.1 * i + loss), "tokens": 2.0} for i in range(4)],
    )  # fmt: skip
    cell = dataclasses.replace(record.cell, at_loss=level)
    return dataclasses.replace(record, cell=cell)


RECORDS = [
    answers("base"),
    answers("random", gain=0.1, loss=4.0, target=0.0),
    answers("lora", 0.2, 0.015, 0.5, 0.02),
    answers("lora", 0.4, 0.09, 0.75, 0.1),
    answers("steering", 0.1, 0.03, 0.25, 0.02),
    answers("steering", 0.6, 0.4, 0.0, 0.1),
]


def test_a_plan_runs_arms_with_a_dial_at_every_level_and_others_once():
    cells = list(PLAN.cells())
    assert [(cell.arm, cell.at_loss) for cell in cells] == [
        ("base", 0.0), ("steering", 0.02), ("steering", 0.1), ("random", 0.0),
    ]  # fmt: skip
    assert [PLAN.label(cell) for cell in cells] == [
        "base", "steering layer=1 at 0.02", "steering layer=1 at 0.1", "random",
    ]  # fmt: skip
    assert PLAN.to_json()["at_loss"] == LEVELS
    twice = dataclasses.replace(PLAN, at_loss=(0.1, 0.1))
    assert len(list(twice.cells())) == 3
    for level in (0, -0.1, math.inf, math.nan):
        with pytest.raises(OptionError, match="must be above 0, in nats a token"):
            dataclasses.replace(PLAN, at_loss=(level,))


def test_a_cell_of_a_level_is_read_back_and_earlier_ones_too():
    record = answers("lora", 0.2, 0.015, 0.5, 0.02)
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
    earlier = record.to_json()
    del earlier["cell"]["at_loss"]
    assert Record.from_json(earlier).cell.at_loss == 0


def test_an_arm_learns_once_for_all_levels_and_a_second_run_learns_nothing(
    start, tmp_path, monkeypatch
):
    learned = []
    arm = ARMS.get("steering")
    dial = type(arm).dial

    def count(self, lab):
        learned.append(lab.seed)
        return dial(self, lab)

    monkeypatch.setattr(type(arm), "dial", count)
    texts = tmp_path / "general.txt"
    texts.write_text("".join(f"The people of place {i} are at home.\n" for i in range(32)))

    def begin():
        return start(tmp_path / "out", PLAN, general=str(texts))

    runner = begin()
    said = []
    runner.report = lambda *given: said.append(given)
    records = list(runner.run())
    assert [record.status for record in records] == ["done"] * 4
    assert learned == [0]
    assert ("steering layer=1 at 0.02 on bold, seed 0", 0, 1) in said
    costs = [record.cost["details"] for record in records[1:3]]
    assert costs[0]["multiplier"] < costs[1]["multiplier"]
    assert all(cost["general_loss"] <= level for cost, level in zip(costs, LEVELS, strict=True))
    # Interrupted between its levels, only the missing one is run again, learned once more.
    runner.store.path(records[2].key).unlink()
    again = list(begin().run())
    assert learned == [0, 0]
    assert again[1] == records[1]
    assert again[2].cost["details"]["multiplier"] == pytest.approx(costs[1]["multiplier"])
    list(begin().run())
    assert learned == [0, 0]


def test_without_a_level_a_cell_has_the_key_that_it_had(start):
    runner = start(None, PLAN)
    cell = Cell("bold", "base", 0)
    keys = {runner.key(dataclasses.replace(cell, at_loss=level)) for level in (0.0, *LEVELS)}
    assert len(keys) == 3
    seen = []
    before = runner.key(cell)
    fields = {"contrast": "bold", "arm": "base", "seed": 0, "options": {}, "examples": 0}

    def spy(content):
        seen.append(content["cell"])
        return content_key(content)

    import prosopon.experiments.runner as module

    module.content_key = spy
    try:
        assert runner.key(cell) == before
    finally:
        module.content_key = content_key
    assert seen == [fields]


def test_points_say_loss_gain_and_free_text_with_intervals():
    points = {(p.arm, p.level): p for p in frontier_points(RECORDS)}
    assert list(points) == [
        ("base", 0.0), ("random", 0.0), ("lora", 0.02), ("lora", 0.1), ("steering", 0.02),
        ("steering", 0.1),
    ]  # fmt: skip
    lora = points["lora", 0.1]
    assert lora.loss.mean == pytest.approx(0.09)
    assert lora.margin.mean == pytest.approx(0.4)
    assert lora.target.mean == 0.75
    assert lora.target.low < 0.75 < lora.target.high
    assert (lora.allowed, lora.kind) == (pytest.approx(0.09), "mask")
    assert lora.repetition is None
    base = points["base", 0.0]
    assert base.allowed is None
    assert (base.loss.mean, base.margin.mean, base.margin.low, base.margin.high) == (0, 0, 0, 0)


def test_several_contrasts_have_points_of_their_own_and_a_mean():
    other = [
        answers("base", contrast="formal"),
        answers("lora", 0.6, 0.05, 1.0, 0.1, contrast="formal"),
    ]
    points = frontier_points([*RECORDS, *other])
    assert {p.contrast for p in points} == {"", "bold", "formal"}
    lora = {p.contrast: p for p in points if (p.arm, p.level) == ("lora", 0.1)}
    assert lora[""].margin.mean == pytest.approx((0.4 + 0.6) / 2)
    assert lora["formal"].margin.mean == pytest.approx(0.6)
    assert lora["bold"].loss.mean == pytest.approx(0.09)
    assert not any(p.arm == "steering" for p in points if p.contrast == "formal")


def test_without_levels_nothing_changes():
    plain = [record for record in RECORDS if not record.cell.at_loss]
    assert frontier_points(plain) == ()
    summary = summarise(plain)
    assert "frontier" not in summary.to_json()
    assert [s.title for s in sections(summary, plain) if s.id == "frontier"] == ["Gained and lost"]


def test_table_figure_and_json_hold_every_level(tmp_path):
    summary, paths = write_results(
        RECORDS, tmp_path, command="c", settings={"model": "m"}, tables=False
    )
    value = json.loads((tmp_path / "summary.json").read_text())["frontier"]
    assert [(p["arm"], p["level"]) for p in value][2:4] == [("lora", 0.02), ("lora", 0.1)]
    page = (tmp_path / "table.md").read_text()
    assert page.index("## Persona at equal loss") < page.index("## All measures")
    rows = [line for line in frontier_table(summary.frontier) if line.startswith("| ")]
    assert len(rows) == 2 + len(RECORDS)
    assert rows[0] == f"| arm | {' | '.join(HELP)} |"
    assert rows[5].startswith("| lora | 0.1 | 0.090 [0.090, 0.090] | 0.400 [0.400, 0.400] | 0.750")
    assert tmp_path / "figures" / "frontier.svg" in paths
    assert (tmp_path / "figures" / "frontier.svg").read_text().startswith("<svg")
    report = (tmp_path / "report.html").read_text()
    assert "Persona at equal loss" in report
    assert "Gained and lost" not in report


def test_the_figure_needs_a_measured_loss():
    without = [
        dataclasses.replace(
            record, results={n: r for n, r in record.results.items() if n != "perplexity"}
        )
        for record in RECORDS
    ]
    assert draw_frontier(frontier_points(without)) is None
    assert draw_frontier(()) is None
    assert draw_frontier(frontier_points(RECORDS)) == draw_frontier(frontier_points(RECORDS))


class Panel:
    """Axes that note where names are written."""

    def __init__(self):
        self.names, self.limits = {}, (0.0, 1.0)

    def get_ylim(self):
        return self.limits

    def set_ylim(self, *limits):
        self.limits = limits

    def annotate(self, name, spot, xytext, **_):
        self.names[name] = xytext[1]


@pytest.mark.parametrize("heights", [(0.5,) * 12, (0.99, 1.0, 0.98), (0.0, 0.5, 1.0), (0.2,)])
def test_names_do_not_overlap_and_stay_in_the_panel(heights):
    panel = Panel()
    _write_names(panel, {f"arm {i}": (0.1, y, "k") for i, y in enumerate(heights)}, 0.2)
    places = sorted(panel.names.values())
    assert all(b - a > 0.04 for a, b in itertools.pairwise(places))
    low, high = panel.limits
    assert low <= places[0]
    assert places[-1] <= high
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    assert [panel.names[f"arm {i}"] for i in order] == places


def test_a_long_name_takes_lines_and_their_room():
    panel, long = Panel(), "contrastive-lora lr=0.003 epochs=2 batch=4 likelihood_power=0.3"
    _write_names(panel, {"above": (0.1, 0.5, "k"), long: (0.1, 0.5, "k"), "b": (0.1, 0.5, "k")}, 1)
    (written,) = (name for name in panel.names if name.startswith("contrastive"))
    assert written.replace("\n", " ") == long
    assert max(map(len, written.splitlines())) <= 36
    places = [panel.names[name] for name in ("above", written, "b")]
    assert [b - a > 0.07 for a, b in itertools.pairwise(places)] == [True, True]
