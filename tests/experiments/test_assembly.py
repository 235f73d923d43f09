"""What falls short of a plan is said; sources and sites are what they say."""

import pytest

from prosopon.data import Example, Message, Persona, load_persona
from prosopon.data.contrast import bundled_contrast, file_contrast
from prosopon.errors import OptionError, UnknownNameError
from prosopon.experiments import Plan, Sites, Sizes, Source, shortfalls
from prosopon.experiments.assembly import grammar_judge


def contrast(count):
    def side(name, word):
        turns = [(Message("user", f"Day {i}?"), Message("assistant", word)) for i in range(count)]
        return Persona(name, tuple(Example(turn) for turn in turns))

    return file_contrast(side("loud", "HEY"), side("calm", "well"), questions=6)


def test_fewer_questions_and_examples_than_asked_for():
    plan = Plan(("loud",), ("base",), sizes=Sizes(6), examples=(4, 64))
    examples, questions = shortfalls(plan, {"loud": contrast(12)})
    assert examples.startswith("loud: 6 calibration examples of a side instead of 64")
    assert questions == (
        "loud: 3 different questions instead of 6; at most a quarter of the prompts is asked"
    )
    assert shortfalls(Plan(("loud",), ("base",), sizes=Sizes(3), examples=(4,)),
                      {"loud": contrast(12)}) == []  # fmt: skip


def test_the_grammar_judges_alone_where_it_can():
    (judge,) = grammar_judge(bundled_contrast("bold", questions=4))
    assert judge.name == "grammar"
    assert grammar_judge(contrast(12)) == []  # too few texts to teach a classifier


def test_sites_are_said_where_some_are_chosen():
    assert Sites().settings() == {}
    assert Sites(("*.mlp.*",), ("q_proj",)).settings() == {
        "targets": ["*.mlp.*"], "ignore": ["q_proj"],
    }  # fmt: skip


def test_a_source_is_one_of_two_kinds():
    with pytest.raises(OptionError, match="either --personas or --target"):
        Source(("bold",), "bold")
    with pytest.raises(UnknownNameError, match="'bald'"):
        Source(("bald",)).contrasts("embedded", 4)


def test_a_bare_name_is_the_librarys_on_any_other_model_than_the_embedded_one():
    (one,) = Source(target="bold", line="Be it.").contrasts("elsewhere", 4).values()
    assert (one.target, one.opposite, one.line, one.bundled) == (
        "bold",
        "cautious",
        "Be it.",
        False,
    )
    library_texts = {example.response for example in load_persona("library:bold").examples}
    assert {example.response for example in one.calibration[0].examples} <= library_texts
    both = Source(("cold", "pirate")).contrasts("elsewhere", 4)
    assert [(c.target, c.opposite) for c in both.values()] == [
        ("cold", "warm"),
        ("pirate", "not-pirate"),
    ]
    grammar = {example.response for example in load_persona("bold").examples}
    (one,) = Source(target="bold").contrasts("embedded", 4).values()
    assert {example.response for example in one.calibration[0].examples} <= grammar
