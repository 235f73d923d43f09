"""Sheets for blind readers, and what their labels say of every arm."""

import dataclasses
import json
import random
import re
import shutil
import sys

import pytest

from prosopon.errors import DataError
from prosopon.evaluation.tasks import Outcome, TaskResult
from prosopon.experiments.store import FORMAT_VERSION
from tests.experiments.samples import done
from tools import blind_reading as tool

QUESTIONS = ["Where to?", "What now?", "Who is it?"]


def record(arm, contrast="bold", verdicts=("target",) * 3, questions=QUESTIONS):
    """Return a record of one free answer a question, which names its arm."""
    outcomes = [
        Outcome(
            question, {name: float(name == verdict) for name in tool.VERDICTS}, question,
            f"An answer of {arm},\nto {question}",
        )
        for question, verdict in zip(questions, verdicts, strict=True)
    ]  # fmt: skip
    made = done(arm, contrast, label=f"{arm} at 0.05")
    cell = dataclasses.replace(made.cell, at_loss=0.05)
    return dataclasses.replace(made, cell=cell, results={"free-text": TaskResult(outcomes)})


def test_a_sheet_holds_every_arm_on_the_same_questions_and_names_none():
    records = [record("lora"), record("steering", questions=["What now?", "Who is it?", "Why?"])]
    texts, rows = tool.sheet(records, 40, random.Random(0))
    assert {row["question"] for row in rows} == {"What now?", "Who is it?"}
    assert [row["number"] for row in rows] == [1, 2, 3, 4]
    assert sorted(row["arm"] for row in rows) == ["lora", "lora", "steering", "steering"]
    for row, question, answer in zip(rows, texts[::3], texts[1::3], strict=True):
        assert question == f"{row['number']}. Q: {row['question']}"
        assert answer == f"   A: An answer of {row['arm']}, to {row['question']}"
    assert len(tool.sheet(records, 1, random.Random(0))[1]) == 2
    assert tool.sheet(records, 2, random.Random(1))[1] != rows


def write(folder, reader, contrast, lines):
    path = folder / reader / f"{contrast}.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def folder(tmp_path):
    """Return a folder of two contrasts and two arms, labelled by two readers who agree."""
    key = {}
    for contrast in ("bold", "formal"):
        records = [record("lora", contrast), record("base", contrast, ("neither",) * 3)]
        _, key[contrast] = tool.sheet(records, 3, random.Random(0))
        for reader in ("first", "second"):
            lines = [
                f"{row['number']},{'target' if row['arm'] == 'base' else 'opposite'},1"
                for row in key[contrast]
            ]
            write(tmp_path, reader, contrast, lines)
    (tmp_path / tool.KEY).write_text(json.dumps(key))
    return tmp_path


def rows_of(lines, heading):
    text = "\n".join(lines)
    part = text[text.index(heading) :].split("\n\n")
    table = next(block for block in part[1:] if block.startswith("|"))
    return [[cell.strip() for cell in row.strip("| ").split("|")] for row in table.splitlines()]


def test_readers_and_judge_stand_side_by_side(folder):
    lines = tool.table(folder)
    head, _, *rows = rows_of(lines, "# Read blind")
    shares = {
        row[0]: dict(zip(head[1:], (c.split()[0] for c in row[1:]), strict=True)) for row in rows
    }
    assert list(shares) == ["base", "lora"]
    assert shares["base"] == {
        "target": "1.000", "opposite": "0.000", "neither": "0.000", "sense": "1.000",
        "both": "1.000", "judge": "0.000",
    }  # fmt: skip
    assert (shares["lora"]["target"], shares["lora"]["judge"]) == ("0.000", "1.000")
    _, _, *kappas = rows_of(lines, "## Agreement")
    assert {row[0]: row[1] for row in kappas}["first, second"] == "1.00"
    assert float({row[0]: row[1] for row in kappas}["first, first judge"]) < 0
    assert "of 2 arms, 6 of each" in lines[2]
    (order,) = rows_of(lines, "How far the arms' shares")[2:]
    assert order == ["first judge", "-1.00", "-1.00", "-1.00"]  # it ranks them the other way round
    assert "1.000 (0.000)" in "\n".join(lines)


def test_one_judge_is_enough_where_the_other_does_not_contradict(folder):
    path = folder / tool.KEY
    key = json.loads(path.read_text())
    for rows in key.values():
        for row in rows:
            row["second"] = "target" if row["arm"] == "base" else "opposite"
    path.write_text(json.dumps(key))
    head, _, *rows = rows_of(tool.table(folder), "# Read blind")
    said = {row[0]: dict(zip(head, (c.split()[0] for c in row), strict=True)) for row in rows}
    # The first judge gives lora's answers to the target and the base's to nobody.
    assert [said["base"][name] for name in ("judge", "second", "either")] == [
        "0.000", "1.000", "1.000",
    ]  # fmt: skip
    assert [said["lora"][name] for name in ("judge", "second", "either")] == [
        "1.000", "0.000", "0.000",
    ]  # fmt: skip


def test_the_others_are_compared_with_one_arm_question_by_question(folder):
    lines = tool.table(folder, "base")
    (row,) = rows_of(lines, "## Beside base")[2:]
    assert [cell.split()[0] for cell in row] == ["lora", "-1.000", "0.000", "-1.000"]
    assert "## Beside" not in "\n".join(tool.table(folder))
    with pytest.raises(DataError, match="no arm 'prompt'; there are: "):
        tool.table(folder, "prompt")


def test_an_arm_may_be_missing_from_a_contrast(folder):
    key = json.loads((folder / tool.KEY).read_text())
    key["formal"] = [row for row in key["formal"] if row["arm"] == "base"]
    for number, row in enumerate(key["formal"], 1):
        row["number"] = number
    (folder / tool.KEY).write_text(json.dumps(key))
    for reader in ("first", "second"):
        write(folder, reader, "formal", [f"{n},target,1" for n in (1, 2, 3)])
    lines = tool.table(folder)
    assert "3 to 6 of each" in lines[2]
    _, _, *rows = rows_of(lines, "## Contrast by contrast")
    assert rows[1] == ["lora", "0.000 (1.000)", "- (-)"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("1,target", "line 1: not number,verdict,sense"),
        ("1,bold,1", "the verdict is one of target, opposite, neither"),
        ("9,target,1", "the number goes to 6"),
        ("1,target,2", "sense is 0 or 1"),
        ("2,target,1", "line 2: 2 is there twice"),
        ("", "no line for [1]"),
    ],
)
def test_a_bad_line_is_named(folder, line, why):
    path = folder / "first" / "bold.csv"
    lines = path.read_text().splitlines()
    write(folder, "first", "bold", [line, *lines[1:]])
    with pytest.raises(DataError, match=re.escape(why)):
        tool.table(folder)


def test_without_labels_it_says_where_they_belong(folder):
    shutil.rmtree(folder / "first")
    shutil.rmtree(folder / "second")
    with pytest.raises(DataError, match=r"no reader's labels; a reader's are in NAME/CONTRAST.csv"):
        tool.table(folder)


def test_from_records_to_a_page(tmp_path, folder, monkeypatch, capsys):
    cells = tmp_path / "cells" / "risk"
    (cells / "cells").mkdir(parents=True)
    (cells / "experiment.json").write_text(json.dumps({"format_version": FORMAT_VERSION}))
    for one in (record("lora"), record("base"), record("steering")):
        path = cells / "cells" / f"{one.key}.json"
        path.write_text(json.dumps({"format_version": FORMAT_VERSION, **one.to_json()}))
    out = tmp_path / "sheets"
    words = ["x", "draw", tmp_path / "cells", "--arms", "base,lora", "--out", out]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    tool.main()
    assert "6 answers" in capsys.readouterr().out
    sheet = (out / "bold.md").read_text()
    assert sheet.count("A: ") == 6
    assert "steering" not in sheet
    assert "**target** is bold" in sheet
    write(out, "first", "bold", [f"{n},target,0" for n in range(1, 7)])
    zipped = shutil.make_archive(str(tmp_path / "blind"), "zip", out)
    page = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["x", "score", zipped, "--page", str(page)])
    tool.main()
    assert "her cat" not in page.read_text()
    assert page.read_text() in capsys.readouterr().out
    assert "of 2 arms, 3 of each" in page.read_text()
    assert "*former*" not in page.read_text()
    other = record("lora", verdicts=("neither", "target", "opposite"))
    path = cells / "cells" / f"{other.key}.json"
    path.write_text(json.dumps({"format_version": FORMAT_VERSION, **other.to_json()}))
    (out / "readers.txt").write_text("A person, and her cat.\n")
    for command in (["judge", str(out), str(tmp_path / "cells")], ["score", str(out)]):
        monkeypatch.setattr(sys, "argv", ["x", *command])
        tool.main()
    head, _, *rows = rows_of(capsys.readouterr().out.splitlines(), "# Read blind")
    shares = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert shares["lora"]["judge"].startswith("0.333")
    assert shares["lora"]["former"].startswith("1.000")
    path.unlink()
    monkeypatch.setattr(sys, "argv", ["x", "judge", str(out), str(tmp_path / "cells")])
    with pytest.raises(DataError, match="hold no answer of 'lora' on bold to question"):
        tool.main()
    monkeypatch.setattr(sys, "argv", ["x", "draw", str(tmp_path / "cells"), "--arms", "prompt"])
    with pytest.raises(DataError, match="no free answers of prompt; there are some of: base"):
        tool.main()
