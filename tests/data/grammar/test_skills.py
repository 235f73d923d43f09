"""Neutral skills: one right answer each, and splits that do not overlap."""

from collections import defaultdict

import pytest

from prosopon.data.grammar import load_skills


@pytest.mark.parametrize("skill", load_skills(), ids=lambda skill: skill.name)
def test_splits(skill):
    assert not set(skill.train) & set(skill.held_out)
    assert len(skill.held_out) >= 10
    answers = defaultdict(set)
    for asked, told in skill.train + skill.held_out:
        answers[asked].add(told)
    assert all(len(told) == 1 for told in answers.values())


@pytest.mark.parametrize("skill", load_skills(), ids=lambda skill: skill.name)
def test_every_held_out_fact_was_trained_in_other_words(skill):
    trained = {told for _, told in skill.train}
    assert {told for _, told in skill.held_out} <= trained


def test_the_five_skills_and_their_arithmetic():
    skills = {skill.name: skill for skill in load_skills()}
    assert set(skills) == {"colours", "capitals", "opposites", "sums", "counting"}
    everything = {
        pair for name in ("sums", "counting") for pair in skills[name].train + skills[name].held_out
    }
    assert ("What is three plus four?", "Three plus four is seven.") in everything
    assert ("Count from two to five.", "Two, three, four, five.") in everything
