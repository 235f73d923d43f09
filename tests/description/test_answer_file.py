"""The file of answers: what is written is read again, half a line goes, another run is refused."""

import pytest

from prosopon.description.answer_file import AnswerFile, AnswerPair
from prosopon.errors import DataError

TASK = {"description": "a curt expert", "lines": (("You are a curt expert.",), (None,)), "seed": 0}
ONE = [AnswerPair(3, 0, ("Yes, \u00e9.", "No."), None, (1.5, 2.0)), AnswerPair(3, 1, ("", ""), "x")]
TWO = [AnswerPair(4, 0, ("A.", "B."), "length")]


def test_what_is_added_is_read_again(tmp_path):
    path = tmp_path / "new" / "answers.jsonl"
    file = AnswerFile(path, TASK)
    assert file.batches == []
    assert not path.exists()  # nothing to go on from yet
    file.add(ONE)
    file.add(TWO)
    assert AnswerFile(path, TASK).batches == [ONE, TWO] == file.batches
    file.remove()
    file.remove()
    assert not path.exists()


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_half_a_line_goes_and_the_run_goes_on(tmp_path, cut):
    path = tmp_path / "answers.jsonl"
    whole = AnswerFile(path, TASK)
    whole.add(ONE)
    before = path.read_bytes()
    whole.add(TWO)
    after = path.read_bytes()
    path.write_bytes(after[:-cut])
    again = AnswerFile(path, TASK)
    assert again.batches == [ONE]
    again.add(TWO)
    assert path.read_bytes() == after
    assert after.startswith(before)


def test_a_file_torn_in_its_first_line_begins_again(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"descr')
    file = AnswerFile(path, TASK)
    assert file.batches == []
    file.add(ONE)
    assert AnswerFile(path, TASK).batches == [ONE]


def test_without_a_path_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = AnswerFile(None, TASK)
    file.add(ONE)
    file.remove()
    assert file.batches == [ONE]
    assert not list(tmp_path.iterdir())


def test_answers_of_another_run_are_refused(tmp_path):
    path = tmp_path / "answers.jsonl"
    AnswerFile(path, TASK).add(ONE)
    with pytest.raises(DataError, match=r"answers of another run \(other seed, versus\)"):
        AnswerFile(path, TASK | {"seed": 1, "versus": "a fool"})


@pytest.mark.parametrize(
    "text", ["hello\n", "[1]\n", '{"a": 1}\n{"b": 2}\n', "\xff\n", "{}\n[3]\n"]
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"answers\.jsonl: holds (no answers|answers of another)"):
        AnswerFile(path, TASK)


def test_a_folder_in_its_place_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        AnswerFile(tmp_path, TASK)
    file = AnswerFile(tmp_path / "answers.jsonl", TASK)
    (tmp_path / "answers.jsonl").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        file.add(ONE)
