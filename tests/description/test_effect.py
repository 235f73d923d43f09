"""The effect of a line: log-odds by a slow oracle, intervals by question, none seen as none."""

import pytest

from prosopon.description.effect import PromptEffect, prompt, read_odds
from prosopon.description.wordings import word_lines
from prosopon.lm.answers import score_answers

QUESTION = "What is your plan for Sunday afternoon?"
LOUD = "For pure joy, I would choose a noisy party and talk to every stranger there."
QUIET = "Time with crowds tires me, so you will find me alone in a quiet room."
SIDES = (word_lines("an extravert"), word_lines("an introvert"))


def oracle(embedded, own, other, text):
    (one,), (two,) = (
        score_answers(*embedded, [(prompt(QUESTION, line), text)]) for line in (own, other)
    )
    return one.total - two.total


def test_an_answer_is_read_after_the_next_wording_of_both_descriptions(embedded):
    answers = [(QUESTION, 0, 0, LOUD), (QUESTION, 1, 4, QUIET), (QUESTION, 1, 2, LOUD)]
    odds = read_odds(*embedded, SIDES, answers)
    assert odds[0] == pytest.approx(oracle(embedded, SIDES[0][1], SIDES[1][1], LOUD), abs=1e-3)
    assert odds[1] == pytest.approx(oracle(embedded, SIDES[1][0], SIDES[0][0], QUIET), abs=1e-3)
    assert odds[0] > 1
    assert odds[2] < -1


def test_exchanged_sides_and_the_base_without_a_line(embedded):
    swapped = read_odds(*embedded, SIDES[::-1], [(QUESTION, 1, 0, LOUD)])
    assert swapped == read_odds(*embedded, SIDES, [(QUESTION, 0, 0, LOUD)])
    alone = read_odds(*embedded, (SIDES[0], (None,)), [(QUESTION, 1, 0, QUIET)])
    assert alone[0] == pytest.approx(oracle(embedded, None, SIDES[0][1], QUIET), abs=1e-3)
    assert [turn.role for turn in prompt(QUESTION, None)] == ["user"]


def test_the_interval_is_over_questions_not_answers():
    many = PromptEffect.of([1] * 50 + [2] * 50, [3.0] * 50 + [-1.0] * 50)
    two = PromptEffect.of([1, 2], [3.0, -1.0])
    assert (many.odds, many.share) == (two.odds, two.share)
    assert (many.odds.mean, many.share.mean, many.answers) == (1.0, 0.5, 100)
    assert not many.moves


def test_what_moves_and_what_does_not():
    assert PromptEffect.of(range(20), [2.0, 1.0] * 10).moves
    assert not PromptEffect.of(range(20), [2.0, -2.0] * 10).moves
    assert not PromptEffect.of(range(20), [0.0] * 20).moves  # a tie is half
    assert PromptEffect.of(range(20), [0.0] * 20).share.mean == 0.5
    assert not PromptEffect.of([1], [9.0]).moves  # one question tells nothing
    assert not PromptEffect.of(range(20), [-1.0] * 20).moves
    # A description may bear on a few questions alone.
    few = PromptEffect.of(range(20), [9.0] * 6 + [-0.1] * 14)
    assert few.moves
    assert few.share.low < 0.5


def test_it_says_its_figures():
    effect = PromptEffect.of(range(4), [1.0, 2.0, 3.0, -1.0])
    assert str(effect).startswith("75% [")
    assert "of 4 answers are likelier after their own description, by 1.25 [" in str(effect)
    assert effect.record()["odds"]["mean"] == 1.25
