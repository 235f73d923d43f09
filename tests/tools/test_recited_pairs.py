"""Which examples are recited: counted by hand on answers that are examples."""

import dataclasses
import sys

from tools.real_contrasts import contrasts

from prosopon.evaluation.tasks import Outcome, Setting, TaskResult
from prosopon.experiments.plan import Cell
from prosopon.experiments.records import Record
from tools import recited_pairs as tool


def record(contrast, answers, examples=30):
    """Return a record of an arm that gave these answers."""
    outcomes = [Outcome(f"q{i}", {}, "Why?", answer) for i, answer in enumerate(answers)]
    cell = Cell(contrast.target, "lora", seed=3, examples=examples)
    return Record("key", cell, "done", "", "adapter", "lora", contrast.opposite, {}, {},
                  {"free-text": TaskResult(outcomes)})  # fmt: skip


def test_the_part_the_rest_and_the_unseen_are_counted_apart(tmp_path):
    (contrast,) = contrasts(["style"], tmp_path, 6).values()
    setting = Setting(contrast, examples=30, seed=3)
    learned, part = setting.learned_texts(), tool.drawn_pairs(30, 3)
    assert len(part) == tool.PART
    inside = [learned[i] for i in sorted(part)]
    outside = [text for i, text in enumerate(learned) if i not in part]
    answers = [*inside[:3], *outside[:2], setting.unseen_texts()[0], "Nothing that anybody said."]
    (row,) = tool.rows([record(contrast, answers)], {"casual": contrast})
    count = dict(zip(tool.HEAD, row, strict=True))
    assert (count["persona"], count["seed"], count["answers"]) == ("casual", "3", "7")
    assert int(count["recite"]) >= 5
    assert int(count["of 16"]) >= 3
    assert int(count["of the rest"]) >= 2
    assert int(count["unseen"]) >= 1
    few = dataclasses.replace(record(contrast, answers, examples=10))
    assert list(tool.rows([few], {"casual": contrast})) == []


def test_the_command_prints_what_the_lab_notes_say(monkeypatch, capsys):
    notes = (tool.Path(__file__).parents[2] / "docs/lab/real-masks.md").read_text("utf-8")
    places = ["docs/lab/real/run11.zip", "docs/lab/real/run14.zip"]
    root = tool.Path(__file__).parents[2]
    monkeypatch.setattr(sys, "argv", ["x", *(str(root / place) for place in places)])
    tool.main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    ours = [row for row in rows if row[2].startswith("contrastive-kl")]
    assert len(ours) == 3
    for persona, _, _, _, *counts in ours:
        assert any(
            line.startswith(f"| {persona} |") and line.endswith(" | ".join(counts) + " |")
            for line in notes.splitlines()
        ), (persona, counts)
