"""A sweep goes on where it was stopped, keeps what failed, and keeps to one model."""

import dataclasses
import json

import pytest

from prosopon.errors import SweepError
from prosopon.sweep import Grid, Store
from tests.sweep.conftest import EFFORT, GRID


def measured(record):
    return {**dataclasses.asdict(record), "seconds": 0, "shared_seconds": 0}


def files(folder):
    return {p.name: p.stat().st_mtime_ns for p in (folder / "cells").glob("*.json")}


def test_every_cell_is_done(finished):
    _, records = finished
    assert len(records) == len(list(GRID.cells())) == 2 * (2 + 2 * 2 * 3)
    assert {record.status for record in records} == {"done"}
    masks = [r for r in records if r.cell.arm not in ("base", "prompt")]
    assert all(r.pruned_share == pytest.approx(r.cell.sparsity, abs=0.05) for r in masks)
    assert all(r.opposite == "cautious" and r.seconds > 0 for r in masks)
    base = [r for r in records if r.cell.arm == "base"]
    assert all(r.measures["perplexity_ratio"] == 1 and r.pruned_share == 0 for r in base)


def test_a_stopped_sweep_goes_on(finished, start, tmp_path):
    grid = dataclasses.replace(GRID, examples=(4,), seeds=(1,))
    whole = [r for r in finished[1] if r.cell.seed == 1 and r.cell.examples in (0, 4)]
    running = start(tmp_path / "s", grid).run()
    for _ in range(4):
        next(running)
    running.close()  # as Ctrl-C would
    before = files(tmp_path / "s")
    assert len(before) == 4
    records = list(start(tmp_path / "s", grid).run())
    after = files(tmp_path / "s")
    assert {name: after[name] for name in before} == before
    assert [measured(r) for r in records] == [measured(r) for r in whole]


def test_nothing_is_run_twice(finished, start):
    folder, records = finished
    before = files(folder)
    runner = start(folder)
    assert list(runner.run()) == records
    assert files(folder) == before
    assert runner._extractor is None


def test_a_larger_grid_adds_cells(finished, start):
    folder, _ = finished
    before = files(folder)
    grid = dataclasses.replace(GRID, sparsities=(0.1, 0.2), examples=(4,), seeds=(0,))
    records = list(start(folder, grid).run())
    fresh = set(files(folder)) - set(before)
    assert {r.cell.sparsity for r in records if f"{r.key}.json" in fresh} == {0.2}
    for name in fresh:  # other tests count the cells
        (folder / "cells" / name).unlink()


def test_failures_are_kept_and_shown(start, tmp_path):
    grid = Grid(("bold",), ("wanda",), (0.1,), (4, 4000), (0,), controls=False)
    good, bad = start(tmp_path / "s", grid).run()
    assert (good.status, bad.status) == ("done", "failed")
    assert bad.message.startswith("bold: 4000 calibration examples asked")
    assert bad.measures == {}
    before = files(tmp_path / "s")
    assert list(start(tmp_path / "s", grid).run()) == [good, bad]
    assert files(tmp_path / "s") == before
    list(start(tmp_path / "s", grid, retry=True).run())
    changed = {n for n, t in files(tmp_path / "s").items() if before[n] != t}
    assert changed == {f"{bad.key}.json"}


def test_a_search_stands_beside_a_refusal(start, tmp_path):
    criteria = ("contrastive-taylor", "wanda")
    options = {"contrastive-taylor": {"rounds": 2}}
    grid = Grid(("bold",), criteria, ("auto",), (20,), (0,), options, controls=False)
    found, refused = start(tmp_path / "s", grid).run()
    assert found.status == "done"
    assert 0 < found.chosen["sparsity"] < 0.1
    assert found.pruned_share == pytest.approx(found.chosen["sparsity"], rel=0.01)
    assert refused.status == "failed"
    assert "no sparsity 'auto'" in refused.message


def test_a_prompt_arm_without_a_line_says_so(tmp_path):
    from prosopon.models import LoadedModel
    from prosopon.sweep import Source, assemble
    from tests.tiny import tiny_model

    for name, word in (("loud", "HEY"), ("calm", "well")):
        turns = [[("user", f"Day {i}?"), ("assistant", f"{word} day {i}")] for i in range(60)]
        rows = [{"messages": [{"role": r, "content": c} for r, c in turn]} for turn in turns]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = Source(target=str(tmp_path / "loud.jsonl"), opposite=str(tmp_path / "calm.jsonl"))
    grid = Grid(("loud",), ("random",), (0.5,), (4,), (0,))
    model, tokenizer = tiny_model("gpt2")
    runner = assemble(
        LoadedModel(model, tokenizer, "t"), source, grid, tmp_path / "s", effort=EFFORT
    )
    found = {record.cell.arm: record for record in runner.run()}
    assert found["prompt"].status == "not-run"
    assert "give one with --prompt" in found["prompt"].message
    assert {r.status for arm, r in found.items() if arm != "prompt"} == {"done"}
    assert found["base"].measures["judge_accuracy"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 5}, "sweep has fingerprint"),
        ({"effort": dataclasses.replace(EFFORT, answers=5)}, "sweep has effort"),
    ],
)
def test_a_folder_of_another_sweep_is_an_error(finished, start, change, words):
    folder, _ = finished
    with pytest.raises(SweepError, match=words):
        start(folder, **change)


def test_a_folder_that_is_no_sweep(start, tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(SweepError, match="is not empty and holds no sweep"):
        start(tmp_path)
    with pytest.raises(SweepError, match="is a file"):
        start(tmp_path / "x")
    with pytest.raises(SweepError, match="holds no sweep"):
        Store.open(tmp_path)


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"format_version": 1, "cell": {"a": 1}}'])
def test_a_damaged_cell_names_its_file(finished, tmp_path, damage):
    _, records = finished
    store = Store(tmp_path / "s", {"model": "x"})
    store.put(records[0])
    assert store.records() == [records[0]]
    path = tmp_path / "s" / "cells" / f"{records[0].key}.json"
    path.write_text(damage)
    with pytest.raises(SweepError, match=r"json: .*delete it to run it again"):
        store.get(records[0].key)


def test_a_renamed_cell_is_noticed(finished, tmp_path):
    _, records = finished
    store = Store(tmp_path / "s", {"model": "x"})
    store.put(records[0])
    path = tmp_path / "s" / "cells" / f"{records[0].key}.json"
    path.rename(path.with_stem("0" * 20))
    with pytest.raises(SweepError, match="holds the cell"):
        store.records()


def test_opening_gives_the_same_records(finished):
    folder, records = finished
    opened = Store.open(folder)
    assert {r.key: r for r in opened.records()} == {r.key: r for r in records}
    assert opened.header["model"] == "tiny"
