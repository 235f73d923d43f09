"""A small comparison on the embedded model, run once; what is made of it."""

import dataclasses
import json
import math

import pandas as pd
import pytest

from prosopon.arms import ARMS
from prosopon.arms.prompt import BaseArm
from prosopon.data.grammar import load_world
from prosopon.errors import ExperimentError, OptionError, UnknownNameError
from prosopon.evaluation.tasks import TASKS, Outcome, TaskResult
from prosopon.experiments import Cell, Plan, Record, Source, arm_names, summarise
from prosopon.experiments.columns import COLUMNS, clusters, estimate
from prosopon.experiments.explanation import explain_masks
from prosopon.experiments.markdown import markdown
from prosopon.experiments.records import unfinished
from prosopon.experiments.report import answers, report
from prosopon.experiments.words import conclusions, remarks, sentence
from prosopon.lm import perplexity


def test_controls_stand_in_every_table(made):
    _, runner, records, summary, _ = made
    assert {"base", "random", "shortest"} <= {row.arm for row in summary.rows}
    assert len(records) == 2 * len(runner.plan.arms) == 12
    assert all(record.status == "done" for record in records)
    assert summary.rows[0].arm == "base"
    assert summary.rows[-1].kind == "control"


def test_a_stopped_comparison_goes_on_without_running_anything_again(made, make, monkeypatch):
    folder, _, records, _, _ = made
    for arm in dict.fromkeys(r.cell.arm for r in records):
        monkeypatch.setattr(type(ARMS.get(arm)), "prepare", refuse, raising=True)
    resumed = make(folder)
    again = list(resumed.run())
    assert resumed._extractor is None
    assert [r.key for r in again] == [r.key for r in records]
    assert [r.to_json() for r in again] == [
        json.loads(json.dumps(r.to_json())) | {"results": again[i].to_json()["results"]}
        for i, r in enumerate(records)
    ]
    assert summarise(again).to_json() == summarise(records).to_json()


def refuse(self, lab):
    raise AssertionError("this cell had a result")


def test_a_damaged_cell_is_named(make, tmp_path):
    runner = make(tmp_path / "out", arms=("base",), contrasts=("bold",), controls=False)
    (record,) = list(runner.run())
    path = runner.store.path(record.key)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ExperimentError, match=record.key):
        list(runner.run())


def test_the_folder_of_another_comparison_is_refused(make, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExperimentError, match="is a file"):
        make(tmp_path / "file")
    with pytest.raises(ExperimentError, match="holds no experiment"):
        make(tmp_path)


def test_a_failing_arm_does_not_stop_the_others(make, tmp_path, monkeypatch):
    def fail(self, lab):
        raise OptionError("there is a reason")

    monkeypatch.setattr(BaseArm, "prepare", fail)
    runner = make(tmp_path / "out", arms=("base", "always-a"), contrasts=("bold",))
    records = list(runner.run())
    assert {r.cell.arm: r.status for r in records}["base"] == "failed"
    assert {r.cell.arm: r.status for r in records}["always-a"] == "done"
    assert ("base", "bold", "failed: there is a reason") in unfinished(records)
    assert "there is a reason" in markdown(summarise(records), records)


def test_masks_are_kept_and_explained(made, tmp_path):
    _, runner, _, _, _ = made
    masks = runner.masks("contrastive-wanda")
    assert set(masks) == {"bold", "cautious"}
    assert masks["bold"] != masks["cautious"]
    found = explain_masks(runner, "contrastive-wanda", tmp_path / "explain")
    assert {section.id for section in found} >= {"explain-cross-talk"}
    assert all("<svg" in section.svg for section in found)
    assert (tmp_path / "explain" / "analysis.json").is_file()
    assert runner.masks("prompt") == {}
    assert explain_masks(runner, None, tmp_path) == []


def test_an_arm_that_failed_has_no_masks_and_leaves_the_report_be(make, tmp_path, monkeypatch):
    def fail(self, lab):
        raise OptionError("there is a reason")

    monkeypatch.setattr(type(ARMS.get("wanda")), "prepare", fail)
    runner = make(tmp_path / "out", arms=("wanda", "base"), contrasts=("bold",))
    list(runner.run())
    assert explain_masks(runner, "wanda", tmp_path) == []


def test_figures_are_means_over_questions(made, loaded):
    _, runner, records, summary, _ = made
    rows = {row.arm: row for row in summary.rows}
    column = next(c for c in COLUMNS if c.name == "choice")
    ours = [r for r in records if r.cell.arm == "prompt"]
    values = [o.values["per-token"] for r in ours for o in r.results["choice"].outcomes]
    assert rows["prompt"].figures["choice"].mean == pytest.approx(sum(values) / len(values))
    assert rows["prompt"].figures["choice"].count == len(values) == 12
    base = rows["base"].figures["general ppl"]
    assert base.mean == pytest.approx(perplexity(loaded.model, runner.general()))
    assert base.low < base.mean < base.high
    assert base.count == len(runner.general())  # the same texts under both personas count once
    assert estimate([r for r in ours if r.cell.contrast == "none"], column) is None


def test_base_has_no_cross_talk_and_letters_are_half_right(made):
    rows = {row.arm: row for row in made[3].rows}
    assert rows["base"].figures["cross-talk"].mean == 0
    assert rows["random"].figures["cross-talk"].mean > 0
    assert rows["always-a"].figures["A/B"].mean == 0.5
    assert rows["always-a"].figures["A/B same"].mean == 0
    assert rows["always-a"].figures["text: target"] is None


def test_free_text_is_read_by_the_base_model(made):
    for record in made[2]:
        for outcome in record.results.get("free-text", TASKS_EMPTY).outcomes:
            if outcome.answer.strip():
                assert outcome.values["base-tokens"] >= 1
                assert outcome.values["base-nats"] > 0
    rows = {row.arm: row for row in made[3].rows}
    assert rows["random"].figures["text ppl"].mean > rows["base"].figures["text ppl"].mean


TASKS_EMPTY = dataclasses.make_dataclass("Empty", [("outcomes", tuple, ())])()


def test_tests_are_paired_and_corrected(made):
    tests = made[3].comparisons
    family = [t for t in tests if t.column == "text: target" and t.against == "base"]
    assert {t.arm for t in family} == {"prompt", "contrastive-wanda", "random"}
    for test in tests:
        assert test.adjusted >= test.p - 1e-12
        assert test.difference.low <= test.difference.mean <= test.difference.high
    first = next(t for t in tests if (t.column, t.arm, t.against) == ("choice", "prompt", "base"))
    mirrored = next(
        t for t in tests if (t.column, t.arm, t.against) == ("choice", "base", "prompt")
    )
    assert first.difference.mean == pytest.approx(-mirrored.difference.mean)
    assert first.p == mirrored.p


def test_words_are_no_stronger_than_intervals(made):
    for test in made[3].comparisons:
        said = sentence(test)
        if test.shown:
            assert "no difference shown" not in said
            assert ("higher" in said) == (test.difference.mean > 0)
        else:
            assert "no difference shown" in said
            assert "higher" not in said
            assert "lower" not in said


def test_a_control_that_scores_is_exposed():
    summary = summarise([record("base", 0.5), record("shortest", 1.0, kind="control")])
    (about, sentences) = conclusions(summary)[-1]
    assert about == "controls"
    assert any("shortest" in each and "says nothing" in each for each in sentences)


def record(arm, value, kind="base"):
    outcomes = [Outcome(f"q{i}", {"per-token": value}) for i in range(20)]
    cost = {"seconds": 0.0, "bytes": 0, "details": {}}
    return Record(
        arm, Cell("bold", arm, 0), "done", kind=kind, cost=cost,
        results={"choice": TaskResult(outcomes)},
    )  # fmt: skip


def test_the_folder_is_complete(made):
    folder, _, records, _, paths = made
    assert all(path.is_file() for path in paths)
    names = {path.name for path in paths}
    assert {"results.parquet", "table.md", "report.html", "summary.json", "frontier.svg"} <= names
    frame = pd.read_parquet(folder / "results.parquet")
    assert list(frame.columns) == [
        "contrast", "opposite", "arm", "kind", "options", "examples", "seed", "task", "question",
        "measure", "value",
    ]  # fmt: skip
    assert set(frame["arm"]) == {r.cell.arm for r in records}
    assert frame["value"].map(math.isfinite).all()
    column = next(c for c in COLUMNS if c.name == "choice")
    found = frame.query("arm == 'prompt' and task == 'choice' and measure == 'per-token'")
    assert len(found) == len(clusters([r for r in records if r.cell.arm == "prompt"], column))


def test_text_of_models_is_escaped():
    nasty = "<script>alert('x')</script>"
    told = TaskResult([Outcome("q", {"target": 1.0}, nasty, nasty)])
    records = [dataclasses.replace(record("base", 1.0), results={"free-text": told})]
    page = report(
        summarise(records), records, [], title=nasty, lead=nasty, command=nasty,
        settings={"a": nasty},
    )  # fmt: skip
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_arms_by_kind():
    names = arm_names(["all"])
    assert names == arm_names(["all"])
    assert set(names) == set(ARMS.names())
    kinds = [ARMS.get(name).kind for name in names]
    assert kinds == sorted(kinds, key=("base", "prompting", "training", "mask", "control").index)
    assert {
        "base", "prompt", "prompt-paper", "few-shot", "retrieval", "lora", "steering", "random",
        "magnitude", "wanda-general", "opposite", "shortest", "always-yes", "always-a",
    } <= set(names)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"arms": ("prompts",)}, UnknownNameError, "Did you mean 'prompt'"),
        ({"tasks": ("chose",)}, UnknownNameError, "unknown task 'chose'"),
        ({"seeds": ()}, OptionError, "no seeds"),
        ({"options": {"lora": ({"r": "2"},)}}, OptionError, "'lora', which does not run"),
        ({"options": {"base": ({"r": "2"},)}}, OptionError, "no option 'r'"),
        ({"examples": (0,)}, OptionError, "at least 1"),
        (
            {"arms": ("wanda",), "options": {"wanda": ({"sparsity": "2"},)}},
            OptionError,
            "a share between 0 and 1",
        ),
    ],
)
def test_plans_that_cannot_be(changes, error, told):
    with pytest.raises(error, match=told):
        Plan(**{"contrasts": ("bold",), "arms": ("base",)} | changes)


def test_bundled_personas_are_the_embedded_models():
    assert not Source(("bold",)).contrasts("elsewhere", 5)["bold"].bundled
    with pytest.raises(OptionError, match="either --personas or --target"):
        Source()
    assert Source(("bold",)).contrasts("embedded", 5)["bold"].bundled
    assert set(TASKS.names()) >= {"choice", "a-b", "free-text"}
    assert "bold" in load_world().poles


def test_a_column_in_which_controls_do_as_well_measures_nothing():
    def rows(value):
        return [
            record("base", 0.98), record("random", 1.0, kind="control"),
            record("contrastive-wanda", value, kind="mask"),
        ]  # fmt: skip

    (line,) = remarks(summarise(rows(0.99)))
    assert line.startswith("choice: the base and every control have the arms' figure")
    better = [record("base", 0.5), *rows(0.99)[1:]]
    assert remarks(summarise(better)) == []


def test_an_arm_that_changes_nothing_is_named():
    rows = [record("base", 0.5), record("few-shot", 0.5, kind="prompting")]
    rows.append(record("prompt", 0.7, kind="prompting"))
    (line,) = remarks(summarise(rows))
    assert line.startswith("few-shot: equal to base in every column")
    assert line in markdown(summarise(rows), rows)
    page = report(summarise(rows), rows, [], title="", lead="", command="", settings={})
    assert "few-shot: equal to base in every column" in page


def test_answers_begin_with_a_question_that_the_base_does_not_answer_as_the_persona():
    def told(arm, verdicts):
        outcomes = [
            Outcome(f"q{i}", {"target": value}, f"question {i}", f"{arm} {i}")
            for i, value in enumerate(verdicts)
        ]
        return dataclasses.replace(
            record(arm, 0.5, kind=arm if arm == "base" else "mask"),
            results={"free-text": TaskResult(outcomes)},
        )

    blocks = answers([told("base", [1.0, 1.0, 0.0]), told("wanda", [1.0, 1.0, 1.0])])
    assert [block["prompt"] for block in blocks] == ["question 2", "question 0"]
    assert blocks[0]["rows"] == {"base": ("base 2", ""), "wanda": ("wanda 2", "target")}


def test_the_table_stands_before_the_sentences_and_these_are_folded(made):
    page = (made[0] / "report.html").read_text("utf-8")
    places = [page.index(f'id="{name}"') for name in ("arms", "frontier", "conclusions", "costs")]
    assert places == sorted(places)
    conclusions_part = page[places[2] : places[3]]
    assert conclusions_part.count("<details>") == len(conclusions(made[3]))
    assert "n = 12" in page[places[0] : places[1]]


def test_samples_hold_every_question_with_its_answer(made):
    folder, _, records, _, _ = made
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == sum(len(t.outcomes) for r in records for t in r.results.values())
    first = next(line for line in lines if line["task"] == "free-text")
    assert {"contrast", "arm", "seed", "question", "prompt", "answer", "values"} <= first.keys()
