"""Bundled questionnaires are balanced; bad files are named."""

import pytest

from prosopon.data import bundled
from prosopon.data.questionnaires import load_questionnaire, names
from prosopon.errors import DataError, UnknownNameError

GOOD = """
[[scale]]
name = "a"
poles = ["x", "y"]
letters = ["X", "Y"]
positive = ["one", "two"]
negative = ["three", "four"]
"""


def test_the_bundled_ones():
    assert names() == ["big-five", "mbti"]


@pytest.mark.parametrize(("name", "scales", "least"), [("mbti", 4, 10), ("big-five", 5, 8)])
def test_scales_are_long_enough_and_half_reversed(name, scales, least):
    found = load_questionnaire(name)
    assert len(found.scales) == scales
    assert found.summary
    for scale in found.scales:
        assert len(scale.items) >= least
        assert sum(item.key for item in scale.items) == 0
        for count in range(2, len(scale.items), 2):  # a part of it is balanced too
            assert sum(item.key for item in scale.items[:count]) == 0
    texts = [item.text for scale in found.scales for item in scale.items]
    assert len(set(texts)) == len(texts)


def test_poles_of_type_are_the_bundled_personas():
    for scale in load_questionnaire("mbti").scales:
        assert bundled.opposite(scale.poles[0]) == scale.poles[1]


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    found = load_questionnaire(path)
    assert found.name == "mine"
    assert [(i.text, i.key) for i in found.scales[0].items] == [
        ("one", 1), ("three", -1), ("two", 1), ("four", -1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "bad.toml: holds no"),
        ("[[scale", "bad.toml: "),
        (GOOD + GOOD, "two scales have the same name; there are a, a"),
        (GOOD.replace('name = "a"', ""), "scale 1: has no name"),
        (GOOD.replace('"x", "y"', '"x"'), r"scale 1 \(a\): poles must be two different"),
        (GOOD.replace('"X", "Y"', '"X", "X"'), "letters must be two different"),
        (GOOD.replace(', "four"', ""), "2 positive and 1 negative items"),
        (GOOD.replace('"four"', '"one"'), "the same statement stands there twice"),
        (GOOD.replace('"four"', "4"), "negative must be a list of texts"),
    ],
)
def test_bad_files(tmp_path, text, told):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        load_questionnaire(path)


def test_unknown_names():
    with pytest.raises(UnknownNameError, match=r"unknown questionnaire 'mbty'.*mbti"):
        load_questionnaire("mbty")
