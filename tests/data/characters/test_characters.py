"""Characters: the bundled ones hold together, and bad files are named."""

import pytest

from prosopon.data import load_contrast, load_persona
from prosopon.data.characters import load_character, names, others
from prosopon.data.contrast import file_contrast
from prosopon.errors import DataError, UnknownNameError
from prosopon.evaluation.tasks.role_play import facts_named
from prosopon.judges import MINIMUM, ClassifierJudge
from prosopon.judges.leaving import leaves_role

ALL = [load_character(name) for name in names()]
GOOD = """
name = "Ann"
sheet = ["You are Ann."]
general = ["Well?"]
leave = ["Stop."]
[[line]]
asked = "Hi"
said = "Ho"
[[knowledge]]
question = "Who?"
expect = [["Ann"]]
"""


def test_there_are_enough_and_all_answer_the_same_prompts():
    assert len(ALL) >= 3
    assert len({tuple(asked for asked, _ in each.lines) for each in ALL}) == 1
    said = [said for each in ALL for _, said in each.lines]
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("character", ALL, ids=lambda c: c.key)
def test_questions_are_answered_by_the_sheet_and_by_it_alone(character):
    sheet = " ".join(character.sheet)
    assert len(character.knowledge) >= 5
    for item in character.knowledge:
        assert facts_named(sheet, item.expect) == 1, item.question
        assert facts_named(item.question, item.expect) == 0, item.question
    foreign = [
        facts_named(" ".join(other.sheet), item.expect)
        for other in ALL
        if other is not character
        for item in character.knowledge
    ]
    assert sum(foreign) / len(foreign) < 0.2


@pytest.mark.parametrize("character", ALL, ids=lambda c: c.key)
def test_nobody_leaves_the_role_in_a_sample_line(character):
    assert not any(leaves_role(said) for _, said in character.lines)
    asked = {asked for asked, _ in character.lines}
    held_out = {*character.general, *character.leave, *(k.question for k in character.knowledge)}
    assert not asked & held_out


@pytest.mark.parametrize("character", ALL, ids=lambda c: c.key)
def test_a_character_is_a_contrast_to_the_others(character):
    target, opposite = load_contrast(f"character:{character.key}")
    assert (target.name, opposite.name) == (character.key, f"not-{character.key}")
    assert [e.prompt for e in target.examples] == [e.prompt for e in opposite.examples]
    assert {e.source.removeprefix("character:") for e in opposite.examples} == {
        name for name in names() if name != character.key
    }
    contrast = file_contrast(target, opposite)
    assert contrast.description == " ".join(character.sheet)
    assert all(len(side) >= MINIMUM for side in contrast.judge)
    judge = ClassifierJudge.fit(
        [said for _, said in character.lines], [e.response for e in others(character.key).examples]
    )
    assert judge.accuracy.mean > 0.75  # voices are apart


def test_a_subset_stays_aligned_and_two_characters_can_be_named():
    target, opposite = load_contrast("character:innkeeper", limit=5, seed=2)
    assert [e.prompt for e in target.examples] == [e.prompt for e in opposite.examples]
    _, other = load_contrast("character:innkeeper", "character:clockmaker")
    assert other.name == "clockmaker"
    assert load_persona("character:innkeeper", name="host").name == "host"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[line", "bad.toml: "),
        (GOOD.replace('name = "Ann"', ""), "bad.toml: name must be a text"),
        (GOOD.replace('["You are Ann."]', "[]"), "bad.toml: sheet must be a list"),
        (GOOD.replace('["Stop."]', '"Stop."'), "bad.toml: leave must be a list"),
        (GOOD.replace("[[line]]", "[[lines]]"), r"bad.toml: holds no \[\[line\]\]"),
        (GOOD.replace('said = "Ho"', ""), "bad.toml: line 1: said must be a text"),
        (GOOD + '[[line]]\nasked = "Hi"\nsaid = "Hu"', "two lines answer the same prompt"),
        (GOOD.replace('[["Ann"]]', '["Ann"]'), "knowledge 1: expect must be a list"),
        (GOOD.replace('[["Ann"]]', "[]"), "knowledge 1: expect must be a list of lists"),
    ],
)
def test_bad_files(tmp_path, text, told):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        load_character(path)


def test_a_file_of_ones_own_and_unknown_names(tmp_path):
    path = tmp_path / "ann.toml"
    path.write_text(GOOD)
    found = load_character(path)
    assert (found.key, found.name) == ("ann", "Ann")
    assert found.knowledge[0].expect == (("ann",),)
    with pytest.raises(UnknownNameError, match=r"unknown character 'ferryman'.*ferrywoman"):
        load_persona("character:ferryman")
