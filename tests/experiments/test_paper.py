"""A folder shaped as the authors' data is understood: splits, infer files, bad rows, pairs."""

import json

import pytest

from prosopon.errors import DataError, OptionError
from prosopon.experiments.paper import PAPER, find_sets, options, set_contrast
from tests.experiments.authors import AXES, write_axes, write_csv, write_script, write_sets
from tests.experiments.authors import questions as rows


@pytest.fixture
def folder(tmp_path):
    write_sets(tmp_path)
    return tmp_path


def test_a_test_file_is_asked_and_nothing_is_calibrated_on_it(folder):
    sets, notes = find_sets(folder)
    assert [(one.name, bool(one.test)) for one in sets] == [
        ("power-seeking", True), ("wealth-seeking", True),
    ]  # fmt: skip
    assert [note.split(":")[0] for note in notes] == [
        "power-seeking_infer.csv", "wealth-seeking_infer.csv",
    ]  # fmt: skip
    published = set_contrast(sets[0], questions=200, line="Be it.")
    contrast = published.contrast
    asked = {item.prompt[0].content for item in contrast.items()}
    learned = {e.prompt[0].content for side in contrast.calibration for e in side.examples}
    assert len(asked) == 12
    assert all("new" in text for text in asked)
    assert all("known" in text for text in learned)
    assert contrast.line == "Be it."
    blank, seen = published.notes
    assert blank.startswith("power-seeking_train.csv: 1 ")
    assert "without a question left out" in blank
    assert seen == "1 of 13 test questions stand in the training file: left out"


def test_most_of_the_training_file_is_left_for_calibration(folder):
    contrast = set_contrast(find_sets(folder)[0][0], questions=200).contrast
    assert len(contrast.calibration[0]) == 90 - 90 // 4 - 1
    assert len(contrast.judge[0]) == 90 // 4


def test_a_row_that_is_broken_otherwise_is_an_error(tmp_path):
    write_csv(tmp_path / "set.csv", [*rows("a", 10), ("Why?", "Yes", "Yes")])
    with pytest.raises(DataError, match=r"set\.csv:12: both answers"):
        set_contrast(find_sets(tmp_path)[0][0], questions=5)


def test_two_files_are_the_sides_of_one_set(tmp_path):
    for side, word in (("extraversion", "party"), ("introversion", "book")):
        lines = [
            {"messages": [{"role": "user", "content": f"Plan {i}?"},
                          {"role": "assistant", "content": f"A {word} {i}."}]}
            for i in range(40)
        ]  # fmt: skip
        (tmp_path / f"energy_{side}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pair = "energy_extraversion=energy_introversion.jsonl"
    (one,), notes = find_sets(tmp_path, [pair])
    assert (one.test, notes) == (None, [])
    contrast = set_contrast(one, questions=8).contrast
    assert len(contrast.items()) == 8
    assert "party" in contrast.items()[0].matching
    assert "book" in contrast.items()[0].not_matching


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["power"], "write it as TARGET=OPPOSITE"),
        (["power=nowhere"], "there is no 'power' in"),
    ],
)
def test_pairs_that_cannot_be(folder, pairs, words):
    with pytest.raises(OptionError, match=words):
        find_sets(folder, pairs)


def test_folders_without_a_set(tmp_path):
    with pytest.raises(OptionError, match="holds no data set"):
        find_sets(tmp_path)
    with pytest.raises(OptionError, match="no such folder"):
        find_sets(tmp_path / "nowhere")
    write_csv(tmp_path / "alone_test.csv", rows("a", 9))
    with pytest.raises(OptionError, match="holds no data set"):
        find_sets(tmp_path)


def test_masks_are_at_the_paper_s_sparsity_and_own_options_win():
    found = options(PAPER.arms, 0.3, {"contrastive-wanda": {"variant": "reference"}})
    assert found["wanda"] == ({"sparsity": "0.3"},)
    assert found["contrastive-wanda"] == ({"sparsity": "0.3", "variant": "reference"},)
    assert "lora" not in found
    over = options(("wanda",), 0.3, {"wanda": {"sparsity": "0.5"}, "lora": {"rank": "2"}})
    assert over == {"wanda": ({"sparsity": "0.5"},), "lora": ({"rank": "2"},)}
    control = options(("opposite",), 0.3, {})
    assert control["opposite"] == ({"criterion": "contrastive-wanda", "sparsity": "0.3"},)


def test_files_of_the_ends_of_an_axis_are_two_sets(tmp_path):
    write_axes(tmp_path, ("energy", "information"))
    sets, notes = find_sets(tmp_path)
    assert notes == []
    assert [(one.name, one.part, one.group) for one in sets] == [
        ("extravert", "mbti", "E"), ("introvert", "mbti", "I"), ("intuitive", "mbti", "N"),
        ("sensing", "mbti", "S"),
    ]  # fmt: skip
    ours, theirs = (set_contrast(one, questions=4).contrast for one in sets[:2])
    assert (ours.target, ours.opposite) == ("extravert", "introvert")
    assert (theirs.target, theirs.opposite) == ("introvert", "extravert")
    first, second = ours.items()[0], theirs.items()[0]
    assert first.prompt == second.prompt
    assert first.answers == second.answers[::-1]
    assert "party" in first.matching


@pytest.mark.parametrize(
    "names",
    [("introvert", "extrovert"), ("MBTI-Introverted", "MBTI-Extraverted"),
     ("en_energy_introversion_train", "en_energy_extraversion_train")],
)  # fmt: skip
def test_how_an_end_may_be_called(tmp_path, names):
    for name in names:
        rows = [{"instruction": f"{i}?", "output": f"{name} {i}."} for i in range(9)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [one.group for one in find_sets(tmp_path)[0]] == ["E", "I"]


def test_one_end_alone_is_no_axis_and_two_answers_are_a_set_of_their_own(tmp_path):
    write_axes(tmp_path, ("energy",))
    (tmp_path / "en_energy_introversion.json").unlink()
    write_csv(tmp_path / "feeling.csv", rows("feel", 20))
    write_csv(tmp_path / "thinking.csv", rows("think", 20))
    sets, _ = find_sets(tmp_path)
    assert [(one.name, one.part) for one in sets] == [
        ("en_energy_extraversion", "ai-persona"), ("feeling", "ai-persona"),
        ("thinking", "ai-persona"),
    ]  # fmt: skip
    with pytest.raises(DataError, match="no alternative"):
        set_contrast(sets[0], questions=4)


def test_given_pairs_are_no_axes(tmp_path):
    write_axes(tmp_path, tuple(AXES))
    sets, _ = find_sets(tmp_path, ["en_energy_extraversion=en_energy_introversion"])
    assert [one.part for one in sets].count("mbti") == 6
    assert [one.name for one in sets if one.part == "ai-persona"] == [
        "en_energy_extraversion-en_energy_introversion"
    ]


def test_every_role_of_a_script_is_a_set(tmp_path):
    write_script(tmp_path)
    sets, notes = find_sets(tmp_path)
    assert [(one.name, one.part, one.group) for one in sets] == [
        ("Friends-reaction-Joey", "role-play", "Friends"),
        ("Friends-reaction-Monica-Geller", "role-play", "Friends"),
    ]
    assert notes == ["Friends/general_response.json#Joey: left out: it has no not-matching answers"]
    item = set_contrast(sets[1], questions=3).contrast.items()[0]
    assert item.matching.startswith("Monica Geller says")
    assert item.not_matching.startswith("Nobody says")


def test_a_script_may_be_a_file_of_the_folder_or_lie_two_folders_down(tmp_path):
    deep = tmp_path / "data"
    deep.mkdir()
    write_script(deep, "Sherlock", ("Watson",))
    (deep / "Sherlock" / "reaction.json").rename(tmp_path / "Venice.json")
    (deep / "Sherlock" / "general_response.json").unlink()
    write_script(deep, "Harry Potter", ("Ron",))
    (deep / "broken.json").write_text("{")
    sets, _ = find_sets(tmp_path)
    assert [(one.name, one.group) for one in sets] == [
        ("Venice-Watson", "Venice"), ("data-Harry-Potter-reaction-Ron", "Harry Potter"),
    ]  # fmt: skip
