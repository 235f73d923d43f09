"""``prosopon evaluate``: what a mask was found on is not asked, and every answer can be kept."""

import json
from collections import Counter
from pathlib import Path

import pytest

from prosopon.data import load_persona
from prosopon.subnetwork import read_evaluation

SMALL = ("--task", "choice,yes-no", "--questions", "12")


def write(path, numbers):
    rows = [
        {
            "question": f"Statement {i}. Would you say that?",
            "answer_matching_behavior": " Yes" if i % 2 else " No",
            "answer_not_matching_behavior": " No" if i % 2 else " Yes",
        }
        for i in numbers
    ]
    path.write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture
def data(prosopon, tiny_folder, tmp_path):
    write(tmp_path / "likes.jsonl", range(48))

    def extract(count):
        prosopon(
            "extract", "-m", tiny_folder, "-t", "likes.jsonl", "-c", "wanda", "-n", count, "-o",
            "mask",
        )  # fmt: skip

    return extract


def test_seen_questions_are_left_out_and_counted(prosopon, data, tiny_folder, tmp_path):
    data(40)
    hashes = json.loads((tmp_path / "mask/subnetwork_config.json").read_text())["calibration"]
    assert len(hashes["prompt_hashes"]) == 40
    shown = prosopon(
        "evaluate", "mask", "-m", tiny_folder, "-t", "likes.jsonl", *SMALL, "--base", "--json",
        "-o", "kept",
    )  # fmt: skip
    told = json.loads(shown.stdout)
    left = told["tasks"]["choice"]["questions"]
    assert 0 < left < 12
    assert f"{12 - left} of 12 test questions were left out" in told["notes"][0]
    lines = [json.loads(x) for x in (tmp_path / "kept/samples.jsonl").read_text().splitlines()]
    counts = Counter(line["arm"] for line in lines if line["task"] == "choice")
    assert counts == {"base": left, "mask": left}
    kept = read_evaluation(tmp_path / "kept")
    config = json.loads((tmp_path / "mask/subnetwork_config.json").read_text())
    assert (kept.persona, kept.checksum) == (config["persona"], config["checksum"])
    assert kept.base_model == Path(tiny_folder).name
    for rows, tasks in ((kept.measures, told["tasks"]), (kept.base, told["base"])):
        figures = {(row.task, row.measure): [row.mean, row.low, row.high] for row in rows}
        assert figures["choice", "per-token"] == tasks["choice"]["measures"]["per-token"]
        assert {row.questions for row in rows if row.task == "choice"} == {left}


def test_a_mask_of_the_library_is_asked_about_the_library(prosopon, tiny_folder, tmp_path):
    for source, name in (("library:cold", "cold"), ("casual", "casual")):
        extract = ["extract", "-m", tiny_folder, "-t", source, "-c", "wanda", "-n", "8"]
        shown = prosopon(*extract, "-o", name).stderr
        assert ("casual: of the library, library:casual, in natural English" in shown) == (
            source == "casual"
        )
        prosopon("evaluate", name, "-m", tiny_folder, *SMALL, "-o", f"{name}-kept")
        lines = (tmp_path / f"{name}-kept/samples.jsonl").read_text().splitlines()
        ours = {example.prompt[0].content for example in load_persona(f"library:{name}").examples}
        asked = {json.loads(line)["prompt"] for line in lines}
        assert asked <= ours
        assert asked


def test_nothing_is_asked_where_all_was_seen(prosopon, data, tiny_folder):
    data(48)
    refused = prosopon(
        "evaluate", "mask", "-m", tiny_folder, "-t", "likes.jsonl", *SMALL, code=2
    ).stderr
    assert "the mask was found on every test question" in refused


def test_a_mask_of_an_earlier_version_says_that_it_does_not_know(
    prosopon, data, tiny_folder, tmp_path
):
    data(8)
    path = tmp_path / "mask/subnetwork_config.json"
    config = json.loads(path.read_text())
    del config["calibration"]["prompt_hashes"]
    path.write_text(json.dumps(config))
    shown = prosopon("evaluate", "mask", "-m", tiny_folder, "-t", "likes.jsonl", *SMALL).stdout
    assert "does not say which prompts it was found on" in " ".join(shown.split())


def test_fewer_questions_than_asked_for_are_said(prosopon, tiny_folder, tmp_path):
    write(tmp_path / "few.jsonl", range(12))
    shown = prosopon(
        "evaluate", "--arm", "base", "-m", tiny_folder, "-t", "few.jsonl", "--task", "choice",
        "--questions", "6", "--json",
    )  # fmt: skip
    told = json.loads(shown.stdout)
    assert told["tasks"]["choice"]["questions"] == 3
    assert any("3 different questions instead of 6" in note for note in told["notes"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("bold", "--arm", "nobody"), "unknown arm 'nobody'"),
        (("bold", "--task", "chooice"), "unknown task"),
        (("bold", "--option", "base.x=1"), "no option 'x'"),
        (("bold", "-o", "/proc/nowhere/out"), "cannot be written"),
        (("nobody",), "nobody"),
    ],
)
def test_bad_names_are_refused_before_a_model_is_loaded(prosopon, monkeypatch, words, message):
    def load(*arguments, **settings):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("prosopon.cli.evaluate.load", load)
    assert message in prosopon("evaluate", *words, code=2).stderr
