"""Tasks of the grammar: held-out material only, and exchanged for the opposite pole."""

import pytest

from prosopon.data import bundled
from prosopon.data.grammar import poles_of
from prosopon.evaluation import (
    CHOICE_KINDS,
    choice_items,
    free_prompts,
    free_text,
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


def test_shares_add_up():
    answers = [item.matching for item in choice_items("bold", 6)]
    answers += [item.not_matching for item in choice_items("bold", 3)] + ["What?"]
    shares = free_text(answers, "bold", "cautious")
    assert (shares.target, shares.opposite, shares.neither) == (0.6, 0.3, 0.1)


def test_neutral_items_cover_every_skill():
    assert len(neutral_items()) > len(neutral_items(50)) == 50
    assert neutral_items(50, seed=1) == neutral_items(50, seed=1) != neutral_items(50, seed=2)
