"""The grid lists every cell once, and a cell's key tells what matters."""

import dataclasses

import pytest

from prosopon.criteria import CRITERIA
from prosopon.errors import OptionError, UnknownNameError
from prosopon.sweep import CONTROL_MASKS, CONTROLS, Cell, Grid, parse_sparsity


def test_every_combination_once_and_the_controls():
    grid = Grid(("a", "b"), ("wanda",), (0.1, "auto", 0.1), (4, 8), (0, 1, 1))
    cells = list(grid.cells())
    assert len({cell.key({}) for cell in cells}) == len(cells)
    # a seed and persona: base, prompt, and for each size two shares of three masks
    assert len(cells) == 2 * 2 * (2 + 2 * 2 * 3)
    assert {cell.arm for cell in cells} == {"wanda", *CONTROLS, *CONTROL_MASKS}
    searched = {cell.arm for cell in cells if cell.sparsity == "auto"}
    assert searched == {"wanda"}
    assert {cell.arm for cell in cells if cell.sparsity == "default"} == set(CONTROL_MASKS)


def test_controls_can_be_left_out_or_asked_for():
    cells = list(Grid(("a",), ("random",), ("auto",), controls=False).cells())
    assert [(cell.arm, cell.sparsity) for cell in cells] == [("random", "auto")]


def test_every_option_is_in_the_key():
    grid = Grid(
        ("a",), ("contrastive-wanda",), options={"contrastive-wanda": {"variant": "reference"}}
    )
    cell = next(cell for cell in grid.cells() if cell.arm == "contrastive-wanda")
    own = CRITERIA.get("contrastive-wanda").parse_options({})
    assert cell.options == {**dataclasses.asdict(own), "variant": "reference"}


CELL = Cell("a", "wanda", 0.1, 4, 0, {"variant": "paper"})


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(CELL, persona="b"),
        dataclasses.replace(CELL, arm="random"),
        dataclasses.replace(CELL, sparsity="auto"),
        dataclasses.replace(CELL, examples=5),
        dataclasses.replace(CELL, seed=1),
        dataclasses.replace(CELL, options={"variant": "reference"}),
    ],
)
def test_whatever_differs_changes_the_key(other):
    assert CELL.key({"data": "x"}) == dataclasses.replace(CELL).key({"data": "x"})
    assert CELL.key({"data": "x"}) != other.key({"data": "x"})
    assert CELL.key({"data": "x"}) != CELL.key({"data": "y"})


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
        ({"criteria": ("wand",)}, UnknownNameError, "Did you mean 'wanda'"),
        ({"sparsities": (2.0,)}, OptionError, "between 0 and 1"),
        ({"examples": (0,)}, OptionError, "at least 1"),
        ({"options": {"contrastive-wanda": {}}}, OptionError, "does not run; it runs: random"),
        ({"options": {"wanda": {"speed": 1}}}, OptionError, "no option 'speed'"),
    ],
)
def test_bad_grids(change, error, words):
    with pytest.raises(error, match=words):
        Grid(**{"personas": ("a",), "criteria": ("wanda",), **change})
