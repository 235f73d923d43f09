"""A plan expands to every combination once, and refuses what cannot be, by name."""

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.arms import ARMS
from prosopon.errors import OptionError, UnknownNameError
from prosopon.experiments import Cell, Plan, Sizes, parse_sparsity
from prosopon.experiments.plan import REQUIRED, SHORT, learns


def plan(**changes):
    return Plan(**{"contrasts": ("a",), "arms": ("wanda",), "controls": False} | changes)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4),
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
)
@settings(max_examples=40)
def test_cells_are_the_product_of_what_differs(contrasts, examples, seeds):
    whole = plan(
        contrasts=tuple(contrasts), examples=tuple(examples), seeds=tuple(seeds),
        arms=("base", "wanda", "random"),
    )  # fmt: skip
    cells = [(c.contrast, c.arm, c.seed, c.examples) for c in whole.cells()]
    expected = {
        (contrast, arm, seed, 0 if arm == "base" else count)
        for contrast, arm, seed, count in itertools.product(
            contrasts, ("base", "wanda", "random"), seeds, examples
        )
    }
    assert len(cells) == len(set(cells)) == len(expected)
    assert set(cells) == expected


def test_seeds_come_first_then_contrasts_then_arms():
    cells = list(plan(contrasts=("b", "a"), arms=("base", "wanda"), seeds=(2, 1)).cells())
    assert [(c.seed, c.contrast, c.arm) for c in cells] == list(
        itertools.product((2, 1), ("b", "a"), ("base", "wanda"))
    )


@pytest.mark.parametrize(
    ("rooms", "counts"),
    [(None, [4, 9]), ({}, [4, 9]), ({"a": 9}, [4, 9]), ({"a": 5}, [4, 5]), ({"a": 3}, [3])],
)
def test_no_cell_has_more_examples_than_there_is_room_for(rooms, counts):
    assert [cell.examples for cell in plan(examples=(4, 9)).cells(rooms)] == counts


def test_sets_of_options_that_say_the_same_are_one_variant():
    sets = ({"sparsity": "0.3"}, {"sparsity": 0.3}, {"sparsity": "0.30"}, {"sparsity": "0.4"})
    cells = list(plan(options={"wanda": sets}).cells())
    assert [cell.options["sparsity"] for cell in cells] == [0.3, 0.4]
    assert list(plan(options={"wanda": ({},)}).cells()) == list(plan().cells())


def test_the_required_arms_are_added_once_and_stand_by_kind():
    whole = plan(arms=("wanda", "random", "prompt"), controls=True)
    assert set(REQUIRED) < set(whole.arms)
    assert len(whole.arms) == len(set(whole.arms)) == 5
    assert whole.arms[0] == "base"
    assert {ARMS.get(name).kind for name in whole.arms[-2:]} == {"control"}


def test_an_arm_of_its_own_stands_beside_the_registered_ones():
    own = ARMS.get("magnitude")
    whole = plan(arms=("mine", "base"), own={"mine": own})
    assert whole.arms == ("mine", "base")
    assert whole.arm("mine") is own
    assert whole.arm("base") is ARMS.get("base")
    assert "own" not in whole.to_json()
    with pytest.raises(UnknownNameError, match="'yours'"):
        plan(arms=("yours",), own={"mine": own})


def test_one_contrast_of_a_plan():
    whole = plan(contrasts=("a", "b"), seeds=(1,))
    part = whole.on("b")
    assert (part.contrasts, part.seeds, part.arms) == (("b",), (1,), whole.arms)


def test_arms_that_do_not_say_so_learn():
    assert learns(object())
    assert learns(ARMS.get("wanda"))
    assert not learns(ARMS.get("base"))
    assert not learns(ARMS.get("shortest"))


@pytest.mark.parametrize("name", ["contrasts", "arms", "tasks", "examples", "seeds"])
def test_an_empty_list_is_named(name):
    with pytest.raises(OptionError, match=f"there are no {name}"):
        plan(**{name: ()})


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"examples": (8, 0)}, OptionError, "0 calibration examples: must be at least 1"),
        ({"options": {"lora": ({},)}}, OptionError, "options are given for 'lora'.*run: wanda"),
        ({"options": {"wanda": ({"sparsity": "1"},)}}, OptionError, "share between 0 and 1"),
        ({"options": {"wanda": ({"rank": 2},)}}, OptionError, "no option 'rank'"),
        ({"tasks": ("choise",)}, UnknownNameError, "Did you mean 'choice'"),
        ({"arms": ("wonda",)}, UnknownNameError, "Did you mean 'wanda'"),
    ],
)
def test_what_cannot_be_is_refused(changes, error, words):
    with pytest.raises(error, match=words):
        plan(**changes)


def test_a_task_has_its_own_size_or_that_of_all():
    sizes = Sizes(questions=7, by_task={"choice": 3})
    assert (sizes.of_task("choice"), sizes.of_task("neutral")) == (3, 7)


@pytest.mark.parametrize("name", ["questions", "max_new_tokens", "speed", "general"])
def test_a_size_has_a_least_value(name):
    least = 0 if name in ("speed", "general") else 1
    assert getattr(Sizes(**{name: least}), name) == least
    with pytest.raises(OptionError, match=f"{name}={least - 1}: at least {least}"):
        Sizes(**{name: least - 1})


def test_a_task_s_own_size_has_a_least_value_too():
    with pytest.raises(OptionError, match="free-text=0: at least 1"):
        Sizes(by_task={"free-text": 0})


def label(arm, **options):
    whole = plan(arms=(arm,), options={arm: (options,)})
    (cell,) = whole.cells()
    return whole.label(cell)


def test_a_label_names_the_options_that_are_not_the_default():
    assert label("wanda") == "wanda"
    assert label("wanda", sparsity="0.25") == "wanda 0.25"
    assert label("few-shot", shots="2", room="64") == "few-shot shots=2 room=64"
    assert label("contrastive-wanda", variant="reference", sparsity=0.1) == (
        "contrastive-wanda 0.1 variant=reference"
    )


def test_a_long_value_is_cut_in_a_label():
    line = "Be kind to every stranger you meet, whoever it is."
    assert label("prompt", line=line) == f"prompt line={line[:SHORT]}..."
    assert label("prompt", line=line[:SHORT]) == f"prompt line={line[:SHORT]}"


@given(st.floats(min_value=1e-9, max_value=1 - 1e-9))
def test_every_share_is_read_back(share):
    assert parse_sparsity(repr(share)) == share


@pytest.mark.parametrize("text", ["1e400", "-1", "0.0", "1.0", "30%", "nan", "automatic"])
def test_what_is_no_share_is_quoted(text):
    with pytest.raises(OptionError, match=r"sparsity '.*': a share between 0 and 1"):
        parse_sparsity(text)


def test_a_plan_as_json_holds_all_that_the_report_shows():
    value = plan(sizes=Sizes(3)).to_json()
    names = {field.name for field in dataclasses.fields(Plan)} - {"own"}
    assert set(value) == names
    assert value["sizes"]["questions"] == 3
    assert Cell("a", "base", 0) == Cell("a", "base", 0, {}, 0)


def test_a_temperature_is_part_of_the_sizes_and_not_below_zero():
    assert Sizes(temperature=0).temperature == 0
    with pytest.raises(OptionError, match=r"temperature=-0.5: at least 0"):
        Sizes(temperature=-0.5)
