"""A folder shaped as the authors' data is understood: splits, infer files, bad rows, pairs."""

import csv
import json

import pytest

from prosopon.errors import DataError, OptionError
from prosopon.experiments.paper import PAPER, find_sets, options, set_contrast

COLUMNS = ("question", "matching", "not_matching")


def write(path, rows, columns=COLUMNS):
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows([row[: len(columns)] for row in rows])


def rows(word, count):
    return [(f"{word} {i}: would you?", f"Yes, {word}.", f"No {word}.") for i in range(count)]


@pytest.fixture
def folder(tmp_path):
    for name in ("power-seeking", "wealth-seeking"):
        known, new = rows(f"{name} known", 90), rows(f"{name} new", 12)
        write(tmp_path / f"{name}_train.csv", [*known, ("", "Yes, blank.", "No.")])
        write(tmp_path / f"{name}_test.csv", [*new, known[3]])
        write(tmp_path / f"{name}_infer.csv", new, COLUMNS[:2])
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
    write(tmp_path / "set.csv", [*rows("a", 10), ("Why?", "Yes", "Yes")])
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
    write(tmp_path / "alone_test.csv", rows("a", 9))
    with pytest.raises(OptionError, match="holds no data set"):
        find_sets(tmp_path)


def test_masks_are_at_the_paper_s_sparsity_and_own_options_win():
    found = options(PAPER.arms, 0.3, {"contrastive-wanda": {"variant": "reference"}})
    assert found["wanda"] == ({"sparsity": "0.3"},)
    assert found["contrastive-wanda"] == ({"sparsity": "0.3", "variant": "reference"},)
    assert "lora" not in found
    over = options(("wanda",), 0.3, {"wanda": {"sparsity": "0.5"}, "lora": {"rank": "2"}})
    assert over == {"wanda": ({"sparsity": "0.5"},), "lora": ({"rank": "2"},)}
