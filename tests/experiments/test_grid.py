"""A grid lists every cell once; its table, curves and page say what its cells hold."""

import dataclasses
import math
import re
from statistics import fmean, stdev

import pytest

from prosopon.criteria import CRITERIA
from prosopon.errors import OptionError, UnknownNameError
from prosopon.experiments import grid_plan, parse_sparsity, summarise
from prosopon.experiments.curves import curve
from prosopon.experiments.figures import LINE, _free_height
from prosopon.experiments.grid import CONTROL_MASKS, CONTROLS
from prosopon.experiments.markdown import markdown
from tests.tiny import tiny_model


def test_every_combination_once_and_the_controls():
    plan = grid_plan(
        ("a", "b"), ("wanda",), sparsities=(0.1, "auto", 0.1), examples=(4, 8), seeds=(0, 1, 1)
    )
    cells = list(plan.cells())
    # a seed and persona: base, prompt, and for each size two shares of three masks
    assert len(cells) == 2 * 2 * (2 + 2 * 2 * 3)
    assert len({repr(cell) for cell in cells}) == len(cells)
    assert {cell.arm for cell in cells} == {"wanda", *CONTROLS, *CONTROL_MASKS}
    searched = {cell.arm for cell in cells if cell.options.get("sparsity") == "auto"}
    assert searched == {"wanda"}
    plain = {cell.arm for cell in cells if cell.options.get("sparsity") == "default"}
    assert plain == set(CONTROL_MASKS)
    assert {cell.examples for cell in cells if cell.arm in CONTROLS} == {0}


def test_controls_can_be_left_out_or_asked_for():
    (cell,) = grid_plan(("a",), ("random",), sparsities=("auto",), controls=False).cells()
    assert (cell.arm, cell.options["sparsity"]) == ("random", "auto")


def test_no_cell_has_more_examples_than_there_are():
    plan = grid_plan(("a",), ("wanda",), examples=(4, 50, 900), controls=False)
    assert [cell.examples for cell in plan.cells({"a": 20})] == [4, 20]


def test_every_option_is_in_the_cell_and_unusual_ones_in_its_label():
    plan = grid_plan(
        ("a",), ("contrastive-wanda",), sparsities=(0.25,),
        options={"contrastive-wanda": {"variant": "reference"}},
    )  # fmt: skip
    cell = next(cell for cell in plan.cells() if cell.arm == "contrastive-wanda")
    own = dataclasses.asdict(CRITERIA.get("contrastive-wanda").parse_options({}))
    assert own.items() - {("variant", "paper")} <= cell.options.items()
    assert plan.label(cell) == "contrastive-wanda 0.25 variant=reference"


@pytest.mark.parametrize("text", ["0", "1", "-0.1", "nan", "inf", "much", ""])
def test_no_share(text):
    with pytest.raises(OptionError, match="a share between 0 and 1"):
        parse_sparsity(text)


def test_shares():
    assert [parse_sparsity(t) for t in ("0.25", " Auto", "default")] == [0.25, "auto", "default"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"criteria": ()}, OptionError, "no criteria"),
        ({"seeds": ()}, OptionError, "no seeds"),
        ({"sparsities": ()}, OptionError, "no sparsities"),
        ({"criteria": ("wand",)}, UnknownNameError, "Did you mean 'wanda'"),
        ({"sparsities": (2.0,)}, OptionError, "between 0 and 1"),
        ({"examples": (0,)}, OptionError, "at least 1"),
        ({"options": {"contrastive-wanda": {}}}, OptionError, "does not run; these run: random"),
        ({"options": {"wanda": {"speed": 1}}}, OptionError, "no option 'speed'"),
    ],
)
def test_bad_grids(change, error, words):
    with pytest.raises(error, match=words):
        grid_plan(**{"contrasts": ("a",), "criteria": ("wanda",), **change})


def test_every_cell_is_done(finished, grid):
    _, records = finished
    assert len(records) == len(list(grid.cells())) == 2 * (2 + 2 * 2 * 3)
    assert {record.status for record in records} == {"done"}
    masks = [record for record in records if record.cell.arm not in CONTROLS]
    shares = [record.cost["details"]["pruned_share"] for record in masks]
    assert shares == pytest.approx([float(r.cell.options["sparsity"]) for r in masks], abs=0.05)
    assert all(r.opposite == "cautious" and r.cost["seconds"] > 0 for r in masks)


def test_rows_and_means_over_seeds(finished):
    _, records = finished
    rows = {row.arm: row for row in summarise(records).rows}
    assert len(rows) == 2 + 2 * 2 * 3
    row = rows["contrastive-wanda 0.4 n=8"]
    assert (row.seeds, row.examples, row.registered) == (2, 8, "contrastive-wanda")
    values = []
    for seed in (0, 1):
        own = {
            (r.cell.arm, r.cell.examples, r.cell.options.get("sparsity")): r
            for r in records
            if r.cell.seed == seed
        }
        masked, base = own["contrastive-wanda", 8, 0.4], own["base", 0, None]
        values.append(math.exp(nats_per_token(masked) - nats_per_token(base)))
    interval = row.over_seeds["ppl ratio"]
    assert interval.mean == pytest.approx(fmean(values))
    assert interval.half_width == pytest.approx(12.7062 * stdev(values) / math.sqrt(2), rel=1e-4)
    assert row.figures["ppl ratio"].low < row.figures["ppl ratio"].mean
    assert rows["base"].figures["ppl ratio"].mean == 1
    share = row.over_seeds["choice"]
    assert 0 <= share.low <= share.mean <= share.high <= 1


def nats_per_token(record):
    outcomes = record.results["perplexity"].outcomes
    return sum(o.values["nats"] for o in outcomes) / sum(o.values["tokens"] for o in outcomes)


def test_curves_are_drawn_where_there_are_two_points(finished):
    _, records = finished
    for over in ("sparsity", "examples"):
        svg = curve(summarise(records), over)
        assert svg.rstrip().endswith("</svg>")
        assert "mathdefault" not in svg  # a number, not how it is set
        sizes = {r.cell.examples for r in records if r.cell.examples}
        words = {"10%"} if over == "sparsity" else {str(size) for size in sizes}
        assert words <= set(re.findall(r"<!-- (.*?) -->", svg))
    single = [
        r for r in records if r.cell.options.get("sparsity") in (None, 0.1) and r.cell.examples < 8
    ]
    assert curve(summarise(single), "sparsity") is None
    assert curve(summarise(single), "examples") is None
    assert curve(summarise([]), "sparsity") is None


def test_the_page_shows_failures(finished):
    _, records = finished
    failed = dataclasses.replace(records[-1], status="failed", message="no | such thing")
    rows = [*records[:-1], failed]
    page = markdown(summarise(rows), rows, ["bold: 3 questions"])
    assert "no | such thing" in page
    assert "Bold: 3 questions." in page
    assert "The same over seeds" in page
    table = [line for line in page.splitlines() if line.startswith("| ")]
    assert len({line.count("|") for line in table[:16]}) == 1


def test_a_search_stands_beside_a_refusal(start, tmp_path, grid):
    plan = grid_plan(
        ("bold",), ("contrastive-taylor", "wanda"), sparsities=("auto",), examples=(20,),
        options={"contrastive-taylor": {"rounds": 2}}, controls=False, sizes=grid.sizes,
        tasks=("choice",),
    )  # fmt: skip
    body, tokenizer = tiny_model("llama", chat=True)
    body.config.max_position_embeddings = 64  # short texts to look at
    search, refused = start(tmp_path / "s", plan, model=(body, tokenizer)).run()
    assert search.status == "done"
    assert 0 < search.cost["details"]["sparsity"] < 0.1
    assert refused.status == "failed"
    assert "no sparsity 'auto'" in refused.message


def test_names_of_one_place_stand_below_each_other_and_above_where_there_is_no_room():
    taken = []
    for height in (0.5, 0.5, 0.5, 0.0, 0.0):
        taken.append((0.0, 1.0, _free_height(0.0, 1.0, height, taken)))
    heights = [height for _, _, height in taken]
    assert heights == pytest.approx([0.5, 0.5 - LINE, 0.5 - 2 * LINE, 0.0, LINE])
    assert _free_height(1.0, 2.0, 0.5, taken) == 0.5  # beside them there is room
