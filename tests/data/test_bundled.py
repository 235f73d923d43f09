"""Bundled personas: sixteen poles, paired question by question, training split only."""

import pytest

from prosopon.data import bundled, load_contrast, load_persona
from prosopon.data.grammar import poles_of
from prosopon.errors import UnknownNameError


@pytest.mark.parametrize("name", bundled.names())
def test_examples_are_the_persona_s_own(name):
    persona = bundled.load(name)
    assert len(persona) == bundled.SIZE
    assert all(poles_of(example.response) == {name} for example in persona.examples[:64])
    assert all(
        poles_of(example.alternative or "") == {bundled.opposite(name)}
        for example in persona.examples[:64]
    )


def test_both_poles_answer_the_same_questions():
    ours, theirs = load_contrast("extravert", "introvert", limit=40)
    assert [e.prompt for e in ours.examples] == [e.prompt for e in theirs.examples]
    assert [e.alternative for e in ours.examples] == [e.response for e in theirs.examples]


def test_the_opposite_of_a_bundled_persona_is_the_bundled_one():
    ours, theirs = load_contrast("bold", None, limit=10)
    assert (ours.name, theirs.name) == ("bold", "cautious")
    assert theirs == load_persona("cautious", limit=10)


def test_unknown_name():
    with pytest.raises(UnknownNameError, match="Choices: bold, casual"):
        bundled.load("nobody")
