"""Dialogues: seeded, one personality each, a quarter neutral, sometimes named."""

import itertools
import re

from prosopon.data.grammar import dialogues, load_skills, load_world, poles_of
from prosopon.data.grammar.judge import _template

SAMPLE = list(itertools.islice(dialogues(7), 1500))
SKILLS = {pair for skill in load_skills() for pair in skill.train}
HELD_OUT = {pair for skill in load_skills() for pair in skill.held_out}


def test_same_seed_same_dialogues():
    assert list(itertools.islice(dialogues(7), 50)) == SAMPLE[:50]
    assert list(itertools.islice(dialogues(8), 50)) != SAMPLE[:50]


def test_roles_alternate():
    for dialogue in SAMPLE:
        roles = [m.role for m in dialogue if m.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert roles
        assert all(m.role != "system" for m in dialogue[1:])


def test_a_dialogue_never_says_both_poles_of_an_axis():
    world = load_world()
    for dialogue in SAMPLE:
        said = set().union(*(poles_of(m.content) for m in dialogue if m.role == "assistant"))
        assert all(world.opposite(pole).name not in said for pole in said)


def test_a_quarter_is_neutral_and_every_second_dialogue_has_a_system_line():
    answers = [
        (asked.content, told.content)
        for dialogue in SAMPLE
        for asked, told in itertools.pairwise(dialogue)
        if told.role == "assistant"
    ]
    neutral = sum(pair in SKILLS for pair in answers) / len(answers)
    assert 0.22 < neutral < 0.28
    named = sum(dialogue[0].role == "system" for dialogue in SAMPLE) / len(SAMPLE)
    assert 0.46 < named < 0.54


def test_nothing_held_out_is_said():
    poles = load_world().poles.values()
    patterns = {
        split: re.compile(
            "|".join(
                _template(template, pole.answers)
                for pole in poles
                for template in pole.answers.templates[split]
            )
        )
        for split in ("train", "held_out")
    }
    values = [
        value
        for pole in poles
        for slot in pole.answers.slots.values()
        for value in slot["held_out"]
        if not any(value in t for t in pole.answers.templates["train"])
    ]
    answers = [m.content for d in SAMPLE for m in d if m.role == "assistant"]
    spoken = [text for text in answers if patterns["train"].fullmatch(text)]
    assert len(spoken) > 1000
    assert not any(patterns["held_out"].fullmatch(text) for text in answers)
    assert sum(value in text for text in spoken for value in values) < 0.01 * len(spoken)
    assert not {(a.content, b.content) for d in SAMPLE for a, b in itertools.pairwise(d)} & HELD_OUT
