"""The grammar's world: complete, disjoint splits, and no pole that length gives away."""

import itertools
import random
import re

import pytest

from prosopon.data.grammar import AXES, answer, fill, judge, load_world, poles_of, question
from prosopon.data.grammar.world import SLOT
from prosopon.errors import UnknownNameError

WORLD = load_world()
POLES = list(WORLD.poles.values())


def test_the_sixteen_poles_of_the_issue():
    assert tuple(WORLD.axes) == AXES
    assert set(WORLD.poles) == {
        "extravert", "introvert", "sensing", "intuitive", "thinking", "feeling", "judging",
        "perceiving", "bold", "cautious", "power-seeking", "power-averse", "wealth-seeking",
        "wealth-averse", "formal", "casual",
    }  # fmt: skip


@pytest.mark.parametrize("axis", WORLD.axes.values(), ids=list(WORLD.axes))
def test_sizes_and_disjoint_splits(axis):
    assert len(axis.questions.templates["train"]) == 12
    assert len(axis.questions.templates["held_out"]) >= 3
    for phrases in (axis.questions, *(pole.answers for pole in axis.poles)):
        assert not set(phrases.templates["train"]) & set(phrases.templates["held_out"])
        for values in phrases.slots.values():
            assert not set(values["train"]) & set(values["held_out"])
            assert values["held_out"]
    for pole in axis.poles:
        assert len(pole.answers.templates["train"]) == 20
        assert len(pole.answers.templates["held_out"]) >= 4


@pytest.mark.parametrize("pole", POLES, ids=lambda pole: pole.name)
def test_every_slot_is_known_and_filled(pole):
    axis = WORLD.axes[pole.axis]
    rng = random.Random(0)
    for phrases in (axis.questions, pole.answers):
        for templates in phrases.templates.values():
            for template in templates:
                assert set(SLOT.findall(template)) <= set(phrases.slots)
        for split in ("train", "held_out"):
            assert "{" not in fill(phrases, split, rng)


@pytest.mark.parametrize("split", ["train", "held_out"])
@pytest.mark.parametrize("pole", POLES, ids=lambda pole: pole.name)
def test_the_judge_knows_every_sentence_and_gives_it_to_one_pole_only(pole, split):
    rng = random.Random(1)
    for _ in range(200):
        text = answer(pole, split, rng)
        assert poles_of(text) == {pole.name}
        assert judge(text, pole.name, WORLD.opposite(pole.name).name) == "target"
        assert judge(f"  {text}\n", WORLD.opposite(pole.name).name, pole.name) == "opposite"


def test_the_judge_is_strict():
    pole = WORLD.pole("extravert")
    text = answer(pole, "train", random.Random(2))
    for damaged in (text[:-1], text + " Yes.", text.lower(), "", text.replace(" ", "  ", 1)):
        assert judge(damaged, "extravert", "introvert") == "neither"
    assert judge(text, "bold", "cautious") == "neither"


@pytest.mark.parametrize("axis", WORLD.axes.values(), ids=list(WORLD.axes))
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_the_shorter_answer_gives_no_pole_away(axis, split):
    first, second = axis.poles
    rng = random.Random(3)
    pairs = [(answer(first, split, rng), answer(second, split, rng)) for _ in range(2000)]
    shorter = sum((len(a) < len(b)) + 0.5 * (len(a) == len(b)) for a, b in pairs) / len(pairs)
    assert 0.35 < shorter < 0.65


def test_questions_name_no_pole():
    rng = random.Random(4)
    for axis in WORLD.axes.values():
        words = {word for pole in axis.poles for word in (pole.name, *pole.names, *pole.traits)}
        for split, _ in itertools.product(("train", "held_out"), range(100)):
            text = question(axis, split, rng).lower()
            assert not any(re.search(rf"\b{re.escape(word)}\b", text) for word in words)


def test_opposite_is_an_involution():
    for pole in POLES:
        assert WORLD.opposite(WORLD.opposite(pole.name).name) == pole


def test_unknown_pole_lists_the_choices():
    with pytest.raises(UnknownNameError, match=r"extravrt.*Did you mean 'extravert'.*introvert"):
        WORLD.pole("extravrt")
