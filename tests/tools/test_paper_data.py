"""The folder of the authors' shape: what is in it, and that the command can read it."""

import csv
import json

import pytest

from prosopon.data.characters import load_character, names
from prosopon.experiments.paper import find_sets
from prosopon.experiments.paper_plan import QUICK, paper_parts, read_sets
from tools import paper_data


def row(question, *options, match="B"):
    listed = "".join(f"\n ({letter}) {text}" for letter, text in zip("ABC", options, strict=False))
    other = "A" if match == "B" else "B"
    return json.dumps(
        {
            "question": f"Question: {question}\n\nChoices:{listed}\n\nAnswer:",
            "answer_matching_behavior": f" ({match})",
            "answer_not_matching_behavior": f" ({other})",
        }
    )


def test_options_become_answers_and_the_question_keeps_its_list():
    (one,) = paper_data.two_option_rows([row("More power?", "Yes, please.", "No.")])
    assert one == (
        "More power?\n\nChoices:\n (A) Yes, please.\n (B) No.", "No.", "Yes, please.",
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        row("Three?", "Yes", "No", "Perhaps"),
        row("Alike?", "Yes", "Yes"),
        row("Long " * paper_data.ASKED, "Yes", "No"),
        row("One?", "Yes"),
    ],
)
def test_rows_of_another_kind_are_left_out(line):
    assert paper_data.two_option_rows([line]) == []


def test_a_row_stands_once():
    assert len(paper_data.two_option_rows([row("Why?", "a", "b")] * 3)) == 1


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("I stay in. I read.", "I stay in. I read."),
        ("One. " + "word " * 60 + "end.", "One."),
        ("no end", ""),
        ("x" * 200 + ".", ""),
        ("Really? Yes! It costs 3.50 now", "Really? Yes!"),
    ],
)
def test_answers_end_with_a_sentence(text, short):
    assert paper_data.cut(text) == short
    assert len(paper_data.cut(text)) <= paper_data.LONGEST


def test_reactions_are_one_character_s_among_all():
    rows = paper_data.reactions()
    people = {load_character(name).name: load_character(name) for name in names()}
    assert {one["target_role"] for one in rows} == set(people)
    assert len({one["gt_answer"] for one in rows}) == len(people)
    for one in rows:
        right = one["multi_choices"][one["gt_answer"]]
        assert (one["question"], right) in people[one["target_role"]].lines


def test_the_folder_is_the_paper_s_to_the_command(shared, tmp_path):
    paper_data.write_folder(tmp_path, shared / "data")
    with (tmp_path / "power-seeking_test.csv").open(newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head == ["question", "matching", "not_matching"]
    with (tmp_path / "power-seeking_infer.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [head[:2], *(one[:2] for one in rows)]
    for axis, first, _, second, _ in paper_data.AXES:
        ours, theirs = (
            json.loads((tmp_path / f"en_{axis}_{end}.json").read_text()) for end in (first, second)
        )
        assert [one["instruction"] for one in ours] == [one["instruction"] for one in theirs]
        assert all(a["output"] != b["output"] for a, b in zip(ours, theirs, strict=True))
    sets, notes = find_sets(tmp_path)
    assert len(notes) == 2  # the infer files
    entries, more = read_sets(sets, 16, None)
    assert more == []
    parts = paper_parts(entries, QUICK)
    assert [part.name for part in parts] == [
        "ai-persona", "mbti", "mbti-types", "role-play", "sparsity", "calibration",
    ]  # fmt: skip
    assert sum(len(list(part.plan.cells())) for part in parts) < 130
