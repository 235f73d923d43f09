from __future__ import annotations

import json
from pathlib import Path

import pytest

from prosopon.data import READERS, Message, Reader, read_examples
from prosopon.errors import DataError

TASK = {"instruction": "Say hi", "input": "", "output": "Hi"}
TURNS = {"messages": [{"role": "assistant", "content": "Hello"}]}
FORMATS = [
    "alpaca", "csv", "jsonl", "model-written-evals", "prompt-completion", "role-agent-bench",
    "rolebench", "text",
]  # fmt: skip


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content", "source", "answer"),
    [
        ("a.jsonl", "\n" + json.dumps(TASK), "a.jsonl:2", "Hi"),
        ("a.json", json.dumps([TASK], indent=1), "a.json:2", "Hi"),
        ("a.JSONL", json.dumps(TURNS), "a.JSONL:1", "Hello"),
        ("a.csv", "question,matching,not_matching\nq,m,n\n", "a.csv:2", "m"),
        ("a.txt", "Some text.\n", "a.txt:1", "Some text."),
        ("a.md", "\n\nSome text.\n", "a.md:3", "Some text."),
    ],
)
def test_the_format_is_recognised(tmp_path, name, content, source, answer):
    (example,) = read_examples(write(tmp_path / name, content))
    assert (example.source, example.response) == (source, answer)


def test_examples_keep_the_order_of_the_file(tmp_path):
    rows = [{**TASK, "output": str(number)} for number in range(20)]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert [e.response for e in read_examples(path)] == [str(number) for number in range(20)]


def test_a_format_by_name_reads_any_suffix(tmp_path):
    path = write(tmp_path / "a.data", json.dumps(TASK))
    assert read_examples(path, "Alpaca")[0].response == "Hi"
    path = write(tmp_path / "b.txt", "question,matching,not_matching\nq,m,n\n")
    assert read_examples(path, "csv")[0].alternative == "n"
    path = write(tmp_path / "c.jsonl", json.dumps(TURNS))
    assert read_examples(path, "text")[0].response == json.dumps(TURNS)


def test_a_row_of_another_format_names_its_line(tmp_path):
    path = write(tmp_path / "a.jsonl", f"{json.dumps(TASK)}\n\n{json.dumps(TURNS)}\n")
    with pytest.raises(DataError, match=r"a\.jsonl:3: the field 'instruction' is missing$"):
        read_examples(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "a.jsonl",
            '{"body": "x", "id": 1}',
            "a.jsonl:1: no format fits a first row with the fields body, id.",
        ),
        ("a.jsonl", "\n3", "a.jsonl:2: no format fits a first row."),
        ("a.csv", "x,y\n1,2\n", "a.csv:2: no format fits a first row with the fields x, y."),
        ("a.parquet", "x", "a.parquet: no format has the suffix '.parquet'."),
        ("a", "x", "a: no format has a name without suffix."),
    ],
)
def test_what_no_format_fits_lists_the_formats(tmp_path, name, content, reason):
    with pytest.raises(DataError) as caught:
        read_examples(write(tmp_path / name, content))
    assert reason in str(caught.value)
    assert all(format in str(caught.value) for format in FORMATS)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_an_empty_file(tmp_path, name, content):
    with pytest.raises(DataError, match="the file is empty"):
        read_examples(write(tmp_path / name, content))


def test_missing_file_folder_and_unknown_format(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        read_examples(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="is a folder; name a file in it, or write hf:"):
        read_examples(tmp_path)
    path = write(tmp_path / "a.jsonl", json.dumps(TASK))
    with pytest.raises(DataError, match=r"unknown format 'alpacca'\. Did you mean 'alpaca'"):
        read_examples(path, "alpacca")


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = write(tmp_path / "a.txt", "x")

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"a\.txt: cannot be read: Permission denied$"):
        read_examples(path)


def test_a_reader_can_be_added(tmp_path, monkeypatch):
    monkeypatch.setattr(READERS, "_items", dict(READERS._items))

    def parse(row, where):
        return READERS.get("text").parse(row["say"], where)

    READERS.add("say", Reader("say", '{"say"}', (".jsonl",), lambda row: "say" in row, parse))
    path = write(tmp_path / "a.jsonl", '{"say": "hello"}')
    assert read_examples(path)[0].messages == (Message("assistant", "hello"),)


def test_readers_know_their_names():
    assert READERS.names() == FORMATS
    assert all(reader.name == name for name, reader in READERS.items())


# Real files


def test_real_yes_no_questions(shared):
    paths = sorted((shared / "data/model-written-evals/persona").glob("*.jsonl"))
    assert paths
    for path in paths[:12]:
        examples = read_examples(path)
        assert len(examples) > 500
        assert {e.response for e in examples} == {"Yes", "No"}
        assert {(e.response, e.alternative) for e in examples} == {("Yes", "No"), ("No", "Yes")}


def test_real_lettered_choices(shared):
    paths = sorted((shared / "data/model-written-evals/advanced-ai-risk").glob("*.jsonl"))
    assert paths
    for path in paths:
        for example in read_examples(path):
            question = example.prompt[0].content
            assert example.response in question
            assert example.alternative in question
            assert example.response[0] == "("


def test_real_instructions(shared):
    folder = shared / "data/machine-mindset"
    loud = read_examples(folder / "energy_extraversion.jsonl")
    quiet = read_examples(folder / "energy_introversion.jsonl")
    assert len(loud) == len(quiet) == 1647
    assert [e.prompt for e in loud] == [e.prompt for e in quiet]
    assert all(e.prompt[0].content == e.prompt[0].content.strip() for e in loud)
    assert loud[4].source == "energy_extraversion.jsonl:5"
