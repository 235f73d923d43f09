"""The contrasts of the report on a real model."""

import json

from prosopon.data import library
from tools import real_contrasts as tool


def instruct(folder):
    """Write files of Machine-Mindset's shape."""
    (folder / "machine-mindset").mkdir()
    for name, word in (("introversion", "alone"), ("extraversion", "together")):
        answers = [f"I am {word}. Then {'x' * i}." for i in range(4)]
        rows = [
            {"instruction": f"Question {i}?", "input": " ", "output": text}
            for i, text in enumerate(answers)
        ] + [
            {"instruction": "Q" * 111, "input": " ", "output": "Short."},
            {"instruction": "Long?", "input": " ", "output": "y" * 171 + "."},
        ]  # fmt: skip
        path = folder / "machine-mindset" / f"energy_{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))


def test_whole_sentences_are_kept():
    assert tool.cut("One. Two! Three?", 9) == "One. Two!"
    assert tool.cut("One. Two! Three?", 8) == "One."
    assert tool.cut("At 3.5 degrees. It freezes.", 20) == "At 3.5 degrees."
    assert tool.cut("No end", 100) == ""
    assert tool.cut("Too long.", 5) == ""


def test_the_energy_contrast_is_short_on_both_sides(tmp_path):
    instruct(tmp_path)
    ours, theirs = tool.energy(tmp_path)
    assert (ours.name, theirs.name, len(ours), len(theirs)) == ("introvert", "extravert", 4, 4)
    assert [example.prompt for example in ours.examples] == [e.prompt for e in theirs.examples]
    assert ours.examples[1].response == "I am alone. Then x."


def test_the_disagreeable_answer_is_the_other_one(tmp_path):
    folder = tmp_path / "model-written-evals" / "persona"
    folder.mkdir(parents=True)
    rows = [
        {
            "question": f"Statement {i}?", "answer_matching_behavior": " Yes",
            "answer_not_matching_behavior": " No",
        }
        for i in range(3)
    ]  # fmt: skip
    (folder / "agreeableness.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ours, theirs = tool.disagreeable(tmp_path)
    assert (ours.name, theirs.name) == ("disagreeable", "agreeable")
    for one, other in zip(ours.examples, theirs.examples, strict=True):
        assert (one.prompt, one.response, one.alternative) == (
            other.prompt, other.alternative, other.response,
        )  # fmt: skip
        assert one.response.strip() == "No"


def test_there_are_six_and_any_pole_of_the_library(tmp_path):
    assert len(tool.CONTRASTS) >= 6
    for _, pole in tool.CONTRASTS.values():
        assert pole in library.names()
    assert list(tool.contrasts(["anxious", "warmth"], tmp_path, 10)) == ["anxious", "cold"]
