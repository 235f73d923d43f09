"""A small comparison on the embedded model, run once; what is made of it."""

import dataclasses
import json
import math

import pandas as pd
import pytest

from prosopon.arms import ARMS
from prosopon.arms.unchanged import BaseArm
from prosopon.cli.compare import explained
from prosopon.data.grammar import load_world
from prosopon.errors import CompareError, OptionError, UnknownNameError
from prosopon.evaluation import perplexity
from prosopon.evaluation.tasks import TASKS
from prosopon.experiments import (
    Plan,
    Record,
    Sizes,
    Source,
    arm_names,
    assemble,
    settings_of,
    summarise,
    write_results,
)
from prosopon.experiments.columns import COLUMNS, clusters, estimate
from prosopon.experiments.markdown import markdown
from prosopon.experiments.records import unfinished
from prosopon.experiments.words import conclusions, sentence
from prosopon.models import load_model

ARMS_ASKED = ("base", "prompt", "contrastive-wanda", "always-a")
SIZES = Sizes(examples=12, questions=10, max_new_tokens=24, general=8, speed=1)


@pytest.fixture(scope="module")
def loaded():
    return load_model("embedded", device="cpu")


@pytest.fixture(scope="module")
def made(loaded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare") / "out"
    runner = make(loaded, folder)
    records = list(runner.run())
    summary, paths = write_results(
        records, folder, command="prosopon compare", settings=settings_of(runner)
    )
    return folder, runner, records, summary, paths


def make(loaded, folder, **changes):
    settings = {"contrasts": ("bold", "cautious"), "arms": ARMS_ASKED, "sizes": SIZES} | changes
    plan = Plan(**settings)
    return assemble(loaded, Source(plan.contrasts), plan, folder)


def test_controls_stand_in_every_table(made):
    _, runner, records, summary, _ = made
    assert {"base", "random", "shortest"} <= {row.arm for row in summary.rows}
    assert len(records) == 2 * len(runner.plan.arms) == 12
    assert all(record.status == "done" for record in records)
    assert summary.rows[0].arm == "base"
    assert summary.rows[-1].kind == "control"


def test_a_stopped_comparison_goes_on_without_running_anything_again(made, loaded, monkeypatch):
    folder, _, records, _, _ = made
    for arm in dict.fromkeys(r.cell.arm for r in records):
        monkeypatch.setattr(type(ARMS.get(arm)), "prepare", refuse, raising=True)
    again = list(make(loaded, folder).run())
    assert [r.key for r in again] == [r.key for r in records]
    assert [r.to_json() for r in again] == [
        json.loads(json.dumps(r.to_json())) | {"results": again[i].to_json()["results"]}
        for i, r in enumerate(records)
    ]
    assert summarise(again).to_json() == summarise(records).to_json()


def refuse(self, lab):
    raise AssertionError("this cell had a result")


def test_a_damaged_cell_is_named(made, loaded, tmp_path):
    runner = make(loaded, tmp_path / "out", arms=("base",), contrasts=("bold",), controls=False)
    (record,) = list(runner.run())
    path = runner.results.cells.path(record.key)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(CompareError, match=record.key):
        list(runner.run())


def test_the_folder_of_another_comparison_is_refused(made, loaded, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CompareError, match="is a file"):
        make(loaded, tmp_path / "file")
    with pytest.raises(CompareError, match="holds no comparison"):
        make(loaded, tmp_path)


def test_a_failing_arm_does_not_stop_the_others(loaded, tmp_path, monkeypatch):
    def fail(self, lab):
        raise OptionError("there is a reason")

    monkeypatch.setattr(BaseArm, "prepare", fail)
    runner = make(loaded, tmp_path / "out", arms=("base", "always-a"), contrasts=("bold",))
    records = list(runner.run())
    assert {r.cell.arm: r.status for r in records}["base"] == "failed"
    assert {r.cell.arm: r.status for r in records}["always-a"] == "done"
    assert ("base", "bold", "failed: there is a reason") in unfinished(records)
    assert "there is a reason" in markdown(summarise(records), records)


def test_masks_are_kept_and_explained(made, monkeypatch):
    folder, runner, _, _, _ = made
    masks = runner.masks("contrastive-wanda")
    assert set(masks) == {"bold", "cautious"}
    assert masks["bold"] != masks["cautious"]
    found = explained(runner, "contrastive-wanda", lambda stage, done, total: None)
    assert {section.id for section in found} >= {"explain-cross-talk"}
    assert all("<svg" in section.svg for section in found)
    assert (folder / "explain" / "analysis.json").is_file()
    assert runner.masks("prompt") == {}
    assert explained(runner, None, lambda stage, done, total: None) == []


def test_an_arm_that_failed_has_no_masks_and_leaves_the_report_be(loaded, tmp_path, monkeypatch):
    def fail(self, lab):
        raise OptionError("there is a reason")

    monkeypatch.setattr(type(ARMS.get("wanda")), "prepare", fail)
    runner = make(loaded, tmp_path / "out", arms=("wanda", "base"), contrasts=("bold",))
    list(runner.run())
    assert explained(runner, "wanda", lambda stage, done, total: None) == []


def test_figures_are_means_over_questions(made, loaded):
    _, runner, records, summary, _ = made
    rows = {row.arm: row for row in summary.rows}
    column = next(c for c in COLUMNS if c.name == "choice")
    ours = [r for r in records if r.cell.arm == "prompt"]
    values = [o.values["per-token"] for r in ours for o in r.results["choice"].outcomes]
    assert rows["prompt"].figures["choice"].mean == pytest.approx(sum(values) / len(values))
    assert rows["prompt"].figures["choice"].count == len(values) == 20
    base = rows["base"].figures["general ppl"]
    assert base.mean == pytest.approx(perplexity(loaded.model, runner.general))
    assert base.low < base.mean < base.high
    assert base.count == len(runner.general)  # the same texts under both personas count once
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
    from prosopon.evaluation.tasks import Outcome, TaskResult
    from prosopon.experiments import Cell

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
        "contrast", "arm", "kind", "seed", "task", "question", "measure", "value",
    ]  # fmt: skip
    assert set(frame["arm"]) == {r.cell.arm for r in records}
    assert frame["value"].map(math.isfinite).all()
    column = next(c for c in COLUMNS if c.name == "choice")
    found = frame.query("arm == 'prompt' and task == 'choice' and measure == 'per-token'")
    assert len(found) == len(clusters([r for r in records if r.cell.arm == "prompt"], column))


def test_text_of_models_is_escaped(loaded, tmp_path):
    from prosopon.evaluation.tasks import Outcome, TaskResult
    from prosopon.experiments.report import report

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
        ({"options": {"lora": {"r": "2"}}}, OptionError, "'lora', which is not compared"),
    ],
)
def test_plans_that_cannot_be(changes, error, told):
    with pytest.raises(error, match=told):
        Plan(**{"contrasts": ("bold",), "arms": ("base",)} | changes)


def test_bundled_personas_are_the_embedded_models():
    with pytest.raises(OptionError, match="embedded model's"):
        Source(("bold",)).contrasts("elsewhere", SIZES)
    with pytest.raises(OptionError, match="either --personas or --target"):
        Source()
    assert set(Source(("bold",)).contrasts("embedded", SIZES)) == {"bold"}
    assert set(TASKS.names()) >= {"choice", "a-b", "free-text"}
    assert "bold" in load_world().poles
