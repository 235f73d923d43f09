"""Contrasts: three parts that share no prompt."""

import itertools

import pytest

from prosopon.data import Example, Message, Persona, bundled, load_persona
from prosopon.data.contrast import Contrast, bundled_contrast, file_contrast
from prosopon.errors import DataError, UnknownNameError


def prompts(pair):
    return {example.prompt for side in pair for example in side.examples}


@pytest.mark.parametrize("name", bundled.names()[::2])
def test_the_parts_of_a_bundled_contrast_share_no_prompt(name):
    contrast = bundled_contrast(name, questions=60)
    parts = [prompts(part) for part in (contrast.calibration, contrast.judge, contrast.test)]
    assert all(not a & b for a, b in itertools.combinations(parts, 2))
    assert len({item.question for item in contrast.items()}) == 60
    assert len(contrast.calibration[0]) + len(contrast.judge[0]) == len(load_persona(name))


def test_a_bundled_contrast_and_its_mirror_ask_the_same():
    ours, theirs = (bundled_contrast(name, questions=20) for name in ("bold", "cautious"))
    assert (ours.target, ours.opposite) == (theirs.opposite, theirs.target) == ("bold", "cautious")
    for one, other in zip(ours.items(), theirs.items(), strict=True):
        assert (one.question, one.answers) == (other.question, other.answers[::-1])
    assert (ours.line, theirs.bundled) == ("You are a risk taker.", True)
    assert ours.judge_texts()[0] == theirs.judge_texts()[1]


def test_unknown_names_are_listed():
    with pytest.raises(UnknownNameError, match="cautious"):
        bundled_contrast("nobody")


def rows(name, word, count=40):
    talk = ((Message("user", f"{i}?"), Message("assistant", f"{word} {i}")) for i in range(count))
    return Persona(name, tuple(map(Example, talk)), f"Says {word}.")


def test_a_contrast_of_files_is_split_by_prompt():
    contrast = file_contrast(rows("yea", "Yes"), rows("nay", "No"), questions=8, judge=6, line="L")
    parts = [prompts(part) for part in (contrast.calibration, contrast.judge, contrast.test)]
    assert all(not a & b for a, b in itertools.combinations(parts, 2))
    assert [len(part) for part in parts] == [26, 6, 8]
    assert (contrast.line, contrast.description, contrast.bundled) == ("L", "Says Yes.", False)
    assert len(contrast.items(3)) == 3
    told, other = contrast.drawn(5, seed=1)
    assert [e.prompt for e in told.examples] == [e.prompt for e in other.examples]


def test_nothing_to_ask_is_an_error():
    side = rows("yea", "Yes", 2)
    empty = Persona("yea", ())
    with pytest.raises(DataError, match="yea: there is no test question"):
        Contrast((side, side), (side, side), (empty, empty)).items()
