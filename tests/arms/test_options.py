"""Options of arms, and arms that come with criteria."""

import dataclasses

import pytest

from prosopon.arms import ARMS, option_help, parse_arm_options
from prosopon.criteria import CRITERIA
from prosopon.errors import OptionError, UnknownNameError


def test_options_are_split_by_arm_and_checked():
    given = ["steering.layer=2", "steering.multiplier=auto", "few_shot.shots=4", "wanda.owl=0.1"]
    assert parse_arm_options(given) == {
        "steering": {"layer": "2", "multiplier": "auto"},
        "few-shot": {"shots": "4"},
        "wanda": {"owl": "0.1"},
    }
    assert parse_arm_options([]) == {}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (["steering.layer"], OptionError, "write it as arm.key=value"),
        (["layer=2"], OptionError, "write it as arm.key=value"),
        (["steering.=2"], OptionError, "write it as arm.key=value"),
        (["lora.r=2", "lora.r=3"], OptionError, "'lora.r' is given twice"),
        (["lora.rank=2"], OptionError, "arm 'lora' has no option 'rank'; it has: r, alpha, lr"),
        (["base.x=2"], OptionError, r"arm 'base' has no option 'x'; it has: \(none\)"),
        (["lora.r=two"], OptionError, "r='two' is not a int"),
        (["lora.r=0"], OptionError, "r=0: must be at least 1"),
        (["lora.lr=-1"], OptionError, "lr=-1.0: must be above 0"),
        (["steering.layer=top"], OptionError, "layer='top': give auto or a int"),
        (["steering.layer=-1"], OptionError, "layer=-1: below 0"),
        (["retrieval.index=tea"], OptionError, "choose one of bm25, embeddings"),
        (["retrieval.k=0"], OptionError, "k=0: must be at least 1"),
        (["wanda.sparsity=much"], OptionError, "sparsity='much': give default, auto or a float"),
        (["wanda-general.sparsity=auto"], OptionError, "has no sparsity 'auto'"),
        (["opposite.criterion=tea"], UnknownNameError, "unknown criterion 'tea'"),
        (["opposite.owl=0.1"], OptionError, "arm 'opposite' has no option 'owl'"),
        (["tea.k=1"], UnknownNameError, "unknown arm 'tea'"),
    ],
)
def test_what_is_wrong_is_named(given, error, message):
    with pytest.raises(error, match=message):
        parse_arm_options(given)


def test_the_opposite_has_the_options_of_its_criterion():
    given = ["opposite.criterion=wanda", "opposite.owl=0.1", "opposite.sparsity=0.2"]
    parsed = ARMS.get("opposite").parse(parse_arm_options(given)["opposite"])
    assert (parsed.criterion, parsed.owl, parsed.sparsity) == ("wanda", 0.1, 0.2)


@pytest.mark.parametrize("name", ARMS.names())
def test_every_option_has_help_and_a_default_that_parses(name):
    arm = ARMS.get(name)
    for told in option_help(arm):
        assert told.help
        assert getattr(arm.parse({told.name: str(told.default)}), told.name) == told.default


def test_a_new_criterion_is_an_arm_by_itself():
    new = dataclasses.replace(CRITERIA.get("magnitude"), name="tea-leaves")
    before = len(ARMS)
    assert "tea-leaves" not in ARMS
    CRITERIA.add("tea-leaves", new)
    try:
        assert "tea-leaves" in ARMS
        assert len(ARMS) == before + 1
        assert "tea-leaves" in dict(ARMS.items())
        assert ARMS.get("tea-leaves").kind == "mask"
    finally:
        del CRITERIA._items["tea-leaves"], ARMS._items["tea-leaves"]
