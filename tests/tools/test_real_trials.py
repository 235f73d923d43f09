"""Trials on a real model: one arm is run and measured, and records are printed as a table."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from tests.tiny import tiny_model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trials(monkeypatch):
    spec = importlib.util.spec_from_file_location("real_trials", ROOT / "tools/real_trials.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["real_trials.py", *map(str, words)])
        module.main()

    return run


def personas(folder):
    for name, word in (("warm", "the people is"), ("cold", "and No Yes")):
        rows = [
            {"prompt": f"q {i}?", "completion": f"{word} thing {i % 5} {word}"} for i in range(12)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_an_arm_is_measured_beside_the_base(trials, tmp_path, capsys):
    model, tokenizer = tiny_model("llama", chat=True)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    personas(tmp_path)
    out = tmp_path / "trials.jsonl"
    common = [
        "run", "--model", tmp_path / "model", "--target", tmp_path / "warm.jsonl", "--opposite",
        tmp_path / "cold.jsonl", "--out", out, "--pairs", 8, "--questions", 4, "--general", 4,
        "--device", "cpu",
    ]  # fmt: skip
    trials(*common, "--arm", "base")
    trials(*common, "--arm", "contrastive-kl", "--option", "rounds=2", "--level", 0.01)
    base, mask = (json.loads(line) for line in out.read_text().splitlines())
    assert base["general"] == 0.0
    assert mask["base_margin"] == base["margin"]
    assert mask["options"] == {"rounds": "2", "max_loss": "0.01"}
    assert mask["margin"] != base["margin"]
    capsys.readouterr()
    trials("table", out)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    gained = f"{mask['margin'] - base['margin']:+.3f}"
    assert f"| warm | contrastive-kl | 0.01 | {gained} |" in lines[2]


def test_the_records_of_the_lab_notes_are_printed(trials, capsys):
    notes = (ROOT / "docs/lab/real-masks.md").read_text()
    trials("table", ROOT / "docs/lab/real/trials.jsonl")
    table = capsys.readouterr().out
    for figure in ("+0.794", "+5.358", "+3.935", "+2.404", "+1.917", "+0.325", "+3.551"):
        assert figure in notes
        assert f"| {figure} |" in table
