"""The tool that measures what a mask keeps of a description."""

import json

import pytest

from prosopon.data import load_bank
from tools import describe_real as tool


def row(arm, odds, general=3.0):
    """Return what the tool writes for an arm of four answers."""
    answers = {f"q{i}": "two words" for i in range(len(odds))}
    return {"arm": arm, "odds": odds, "general": general, "answers": answers}


def test_what_is_kept_is_a_share_of_the_lines_way():
    rows = [row("base", [-2.0] * 4), row("line", [2.0] * 4), row("mask", [1.0] * 4, 3.05)]
    base, line, mask = tool.table(rows)
    assert base == ("base", "-2.00 [-2.00, -2.00]", "0.00 [0.00, 0.00]", "", "2", "+0.000")
    assert line[2:4] == ("1.00 [1.00, 1.00]", "")
    assert mask[3:] == ("0.75 [0.75, 0.75]", "2", "+0.050")


def test_intervals_are_over_questions():
    rows = [row("base", [-2.0, -1.0, 0.0, -3.0]), row("line", [2.0] * 4), row("m", [0.0, 2.0] * 2)]
    low, high = tool.table(rows)[2][1].split("[")[1].rstrip("]").split(", ")
    assert float(low) < 1.0 < float(high)


def messages(question):
    """Return an exchange."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": "Yes."}]


@pytest.mark.parametrize("count", [4, 1000])
def test_no_question_of_the_examples_is_asked(tmp_path, count):
    bank = [item.question for item in load_bank("everyday").items]
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"messages": messages(question), "alternative": "No."} for question in bank[::2]]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    left = tool.left_over(pairs, count)
    assert len(left) == min(count, len(bank) // 2)
    assert not set(left) & set(bank[::2])
