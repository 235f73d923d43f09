"""Verdicts in a file that several write at once."""

import json

import pytest

from prosopon.errors import JudgeError
from prosopon.judges.verdict_file import VerdictFile
from tests.processes import forked


def keep_many(channel, path, name):
    channel.recv()  # both are there
    kept = VerdictFile(path)
    for number in range(60):
        kept.keep(f"{name}-{number}", "target", "x" * 3000)


def test_two_processes_lose_nothing_of_each_other(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    with forked(keep_many, path, "a") as one, forked(keep_many, path, "b") as other:
        for _, channel in (one, other):
            channel.send("go")
        for process, _ in (one, other):
            process.join(60)
            assert process.exitcode == 0
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {row["key"] for row in rows} == {f"{w}-{n}" for w in "ab" for n in range(60)}
    assert len(rows) == 120


def test_what_others_keep_is_read_on_request(tmp_path):
    ours, theirs = (VerdictFile(tmp_path / "verdicts.jsonl") for _ in range(2))
    theirs.keep("a", "opposite", "")
    ours.keep("b", "target", "")
    assert ours.get("a") is None
    ours.refresh()
    theirs.refresh()
    assert [kept.get(key) for kept in (ours, theirs) for key in "ab"] == ["opposite", "target"] * 2


def test_a_torn_last_line_is_left_out_with_a_word(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    VerdictFile(path).keep("a", "neither", "")
    whole = path.read_text()
    path.write_text(whole + '{"key": "b", "verd')
    with pytest.warns(UserWarning, match="last line is not whole"):
        kept = VerdictFile(path)
    assert (kept.get("a"), kept.get("b")) == ("neither", None)
    kept.keep("c", "target", "")
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["a", "c"]
    path.write_text('{"key": "b", "verd')  # nothing but a torn line
    with pytest.warns(UserWarning, match="not whole"):
        VerdictFile(path).keep("d", "target", "")
    assert VerdictFile(path).get("d") == "target"


def test_memory_and_places_that_cannot_be_written(tmp_path):
    kept = VerdictFile(None)
    kept.keep("a", "target", "")
    kept.refresh()
    assert kept.get("a") == "target"
    with pytest.raises(JudgeError, match="cannot be read"):
        VerdictFile(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(JudgeError, match="cannot be written"):
        VerdictFile(tmp_path / "file" / "below").keep("a", "target", "")
