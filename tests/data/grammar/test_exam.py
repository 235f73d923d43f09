"""Tasks of the grammar: held-out material only, and exchanged for the opposite pole."""

import pytest

from prosopon.data import bundled
from prosopon.data.grammar import load_world, poles_of
from prosopon.data.grammar.exam import (
    CHOICE_KINDS,
    choice_items,
    free_prompts,
    held_out_questions,
    judge_questions,
    neutral_items,
)


@pytest.mark.parametrize("pole", bundled.names())
def test_choice_items_are_exchanged_for_the_opposite(pole):
    ours = choice_items(pole, 20, seed=1)
    theirs = choice_items(bundled.opposite(pole), 20, seed=1)
    for a, b in zip(ours, theirs, strict=True):
        assert a.prompt == b.prompt
        assert (a.matching, a.not_matching) == (b.not_matching, b.matching)
        assert poles_of(a.matching) == {pole}


@pytest.mark.parametrize("pole", bundled.names())
def test_nothing_of_the_calibration_is_asked(pole):
    asked = {prompt[-1].content for prompt in free_prompts(pole, 50)}
    items = [item for kind in CHOICE_KINDS for item in choice_items(pole, 50, kind=kind)]
    asked |= {item.prompt[-1].content for item in items}
    answers = {item.matching for item in items}
    calibration = bundled.load(pole).examples
    assert not asked & {example.prompt[-1].content for example in calibration}
    assert not answers & {example.response for example in calibration}


def test_neutral_items_cover_every_skill():
    assert len(neutral_items()) > len(neutral_items(50)) == 50
    assert neutral_items(50, seed=1) == neutral_items(50, seed=1) != neutral_items(50, seed=2)


@pytest.mark.parametrize("axis", load_world().axes.values(), ids=lambda axis: axis.name)
def test_questions_are_different_until_all_are_asked(axis):
    pool = held_out_questions(axis, 60, 0)
    assert len(set(pool)) == 60
    assert held_out_questions(axis, 60, 0) == pool != held_out_questions(axis, 60, 1)
    assert held_out_questions(axis, 20, 0) == pool[:20]
    more = held_out_questions(axis, 1000, 0)
    size = len(set(more))
    assert size < 1000
    assert more[size:] == more[: 1000 - size]


@pytest.mark.parametrize("axis", load_world().axes.values(), ids=lambda axis: axis.name)
def test_test_judge_and_calibration_have_questions_of_their_own(axis):
    asked, judged = set(held_out_questions(axis, 1000, 0)), set(judge_questions(axis))
    trained = {e.prompt[-1].content for e in bundled.load(axis.poles[0].name).examples}
    assert len(judged) >= 5
    assert not asked & judged
    assert not (asked | judged) & trained
