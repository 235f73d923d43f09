"""A folder goes on where it was stopped, keeps to one experiment, and names what is wrong."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from prosopon.arms import ARMS
from prosopon.errors import ExperimentError
from prosopon.evaluation.tasks import TASKS
from prosopon.experiments import Memory, Results, check_folder, grid_plan
from prosopon.experiments.runner import plugin_files
from prosopon.experiments.store import try_writing
from prosopon.plugins import load_plugin
from tests.tiny import tiny_model

GOLDEN = Path(__file__).parent / "golden"


def answers(record):
    value = json.loads(json.dumps(record.to_json()))
    return {name: value[name] for name in ("key", "cell", "status", "results", "refused", "label")}


def files(folder):
    return {p.name: p.stat().st_mtime_ns for p in (folder / "cells").glob("*.json")}


@pytest.fixture
def one(grid):
    """Return the plan of one mask with one seed."""
    return grid_plan(
        ("bold",), ("wanda",), sparsities=(0.1,), examples=(4,), controls=False, sizes=grid.sizes,
        tasks=("choice",),
    )  # fmt: skip


def test_a_stopped_run_goes_on(finished, start, grid, tmp_path):
    plan = dataclasses.replace(grid, examples=(4,), seeds=(1,))
    whole = [r for r in finished[1] if r.cell.seed == 1 and r.cell.examples in (0, 4)]
    running = start(tmp_path / "s", plan).run()
    for _ in range(4):
        next(running)
    running.close()  # as Ctrl-C would
    before = files(tmp_path / "s")
    assert len(before) == 4
    records = list(start(tmp_path / "s", plan).run())
    after = files(tmp_path / "s")
    assert {name: after[name] for name in before} == before
    assert list(map(answers, records)) == list(map(answers, whole))


def test_nothing_is_run_twice_and_a_larger_plan_adds_cells(finished, start, grid, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    before = files(folder)
    runner = start(folder, grid)
    assert list(map(answers, runner.run())) == list(map(answers, finished[1]))
    assert files(folder) == before
    assert runner._extractor is None
    larger = grid_plan(
        ("bold",), ("contrastive-wanda",), sparsities=(0.1, 0.2), examples=(4,),
        sizes=grid.sizes, tasks=grid.tasks,
    )  # fmt: skip
    records = list(start(folder, larger).run())
    fresh = set(files(folder)) - set(before)
    assert {r.cell.options["sparsity"] for r in records if f"{r.key}.json" in fresh} == {0.2}


def test_failures_are_kept_until_they_are_tried_again(start, one, tmp_path, monkeypatch):
    def fail(self, lab):
        raise ExperimentError("there is a reason")

    with monkeypatch.context() as patch:
        patch.setattr(type(ARMS.get("wanda")), "prepare", fail)
        (bad,) = start(tmp_path / "s", one).run()
        assert (bad.status, bad.message, bad.results) == ("failed", "there is a reason", {})
    before = files(tmp_path / "s")
    (again,) = start(tmp_path / "s", one).run()
    assert (again.status, files(tmp_path / "s")) == ("failed", before)
    (good,) = start(tmp_path / "s", one, retry=True).run()
    assert good.status == "done"


def test_more_examples_than_there_are_take_what_there_is(start, one, tmp_path):
    (record,) = start(None, dataclasses.replace(one, examples=(4000, 5000))).run()
    assert record.status == "done"
    assert 0 < record.cell.examples < 512


def test_a_prompt_arm_without_a_line_is_refused_with_a_reason(start, one):
    plan = dataclasses.replace(one, arms=("prompt",), options={})
    runner = start(None, plan, line=None)
    contrast = dataclasses.replace(runner.contrasts["bold"], line=None, description="")
    runner.contrasts = {"bold": contrast}
    (record,) = runner.run()
    assert record.status == "refused"
    assert "neither a system line nor a description" in record.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": tiny_model("llama", chat=True, seed=5)}, "has fingerprint"),
        ({"model": tiny_model("llama", chat=True, dtype=torch.float64)}, 'has dtype "float32"'),
    ],
)
def test_another_model_or_dtype_is_another_experiment(start, one, tmp_path, change, words):
    start(tmp_path / "s", one)
    with pytest.raises(ExperimentError, match=words):
        start(tmp_path / "s", one, **change)


def test_revision_device_and_dtype_are_in_the_header(start, one):
    header = start(None, one).store.header
    assert header["dtype"] == "float32"
    assert header["device"] == "cpu"
    assert "revision" in header


def test_whatever_a_cell_depends_on_changes_its_key(start, one):
    runner = start(None, one)
    (cell,) = runner.cells()
    keys = {runner.key(cell)}
    for change in (
        {"arm": "magnitude"}, {"seed": 1}, {"examples": 5}, {"options": {"sparsity": 0.2}},
    ):  # fmt: skip
        keys.add(runner.key(dataclasses.replace(cell, **change)))
    for header in ({"dtype": "float16"}, {"device": "cuda"}, {"revision": "abc"}):
        runner.store = Memory({**start(None, one).store.header, **header})
        keys.add(runner.key(cell))
    runner = start(None, dataclasses.replace(one, tasks=("perplexity",)))
    keys.add(runner.key(cell))
    runner = start(None, dataclasses.replace(one, sizes=dataclasses.replace(one.sizes, speed=2)))
    keys.add(runner.key(cell))
    assert len(keys) == 10


PLUGIN = '''
"""A task."""
from prosopon.evaluation.tasks import TASKS, Outcome, TaskResult

class Own:
    name, summary, measures = "own-of-a-test", "mine", {"hit": "a hit"}
    def refuses(self, setting, *, writes):
        return None
    def run(self, speaker, setting):
        return TaskResult([Outcome("q", {"hit": 1.0})])

TASKS.add("own-of-a-test", Own())
'''


def test_the_text_of_a_plugin_is_in_the_key(tmp_path):
    assert plugin_files(ARMS.get("wanda"), ARMS.get("prompt"), TASKS.get("choice")) == []
    path = tmp_path / "own.py"
    path.write_text(PLUGIN)
    load_plugin(path)
    try:
        (first,) = plugin_files(TASKS.get("own-of-a-test"))
        path.write_text(PLUGIN + "# changed\n")
        (second,) = plugin_files(TASKS.get("own-of-a-test"))
    finally:
        TASKS.remove("own-of-a-test")
    assert first != second


@pytest.mark.parametrize("kind", ["comparison", "sweep"])
def test_a_folder_of_an_earlier_version_is_refused_by_name(start, one, tmp_path, kind):
    folder = tmp_path / kind
    shutil.copytree(GOLDEN / kind, folder)
    for attempt in (lambda: start(folder, one), lambda: Results.open(folder)):
        with pytest.raises(ExperimentError, match=f"holds a {kind} of an earlier version.*output"):
            attempt()
    assert not (folder / "experiment.json").exists()


def test_a_folder_that_is_no_experiment(start, one, tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(ExperimentError, match="is not empty and holds no experiment"):
        start(tmp_path, one)
    with pytest.raises(ExperimentError, match="is a file"):
        start(tmp_path / "x", one)
    with pytest.raises(ExperimentError, match="holds no experiment"):
        Results.open(tmp_path)


def test_a_folder_of_another_format_is_named(tmp_path):
    (tmp_path / "experiment.json").write_text('{"format_version": 99}')
    with pytest.raises(ExperimentError, match="format version 99; this prosopon reads 2"):
        Results.open(tmp_path)


def test_an_unwritable_folder_is_noticed_and_nothing_is_left_behind(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExperimentError, match="cannot be written"):
        try_writing(tmp_path / "file" / "out")
    with pytest.raises(ExperimentError, match="cannot be written"):
        check_folder("/proc/prosopon/out")
    check_folder(tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"format_version": 2, "cell": {"a": 1}}'])
def test_a_damaged_cell_names_its_file(finished, tmp_path, damage):
    _, records = finished
    results = Results(tmp_path / "s", {"model": "x"})
    results.put(records[0])
    assert list(map(answers, results.records())) == [answers(records[0])]
    results.path(records[0].key).write_text(damage)
    with pytest.raises(ExperimentError, match=r"json: .*delete it to run it again"):
        results.get(records[0].key)


def test_a_cell_without_its_parts_and_a_renamed_one_are_noticed(finished, tmp_path):
    _, records = finished
    results = Results(tmp_path / "s", {"model": "x"})
    path = results.path(records[0].key)
    results.put(records[0])
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "cell": {"contrast": "bold"}}))
    with pytest.raises(ExperimentError, match="not a cell"):
        results.get(records[0].key)
    path.write_text(json.dumps(value))
    path.rename(path.with_stem("0" * 20))
    with pytest.raises(ExperimentError, match="holds the cell"):
        results.records()


def test_opening_gives_the_same_records_in_the_order_of_kinds(finished):
    folder, records = finished
    opened = Results.open(folder)
    assert {r.key: answers(r) for r in opened.records()} == {r.key: answers(r) for r in records}
    assert [r.kind for r in opened.records()][:3] == ["base", "prompting", "mask"]
    assert opened.header["model"] == "tiny"


def test_memory_keeps_records_and_masks(start, one):
    runner = start(None, one)
    (record,) = runner.run()
    assert runner.store.get(record.key) == record
    (mask,) = runner.masks("wanda").values()
    assert mask.pruned_share == pytest.approx(0.1, abs=0.03)
    assert runner.store.mask("nothing") is None
