"""The table of what masks of few rows and columns keep, from records that are made by hand."""

import importlib.util
import sys
from pathlib import Path

import pytest

from prosopon.evaluation.tasks import Outcome, TaskResult
from prosopon.experiments.frontier import frontier_points
from prosopon.experiments.plan import Cell
from prosopon.experiments.records import Record

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ranks():
    spec = importlib.util.spec_from_file_location("lora_ranks", ROOT / "tools/lora_ranks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["lora_ranks"] = module
    spec.loader.exec_module(module)
    return module


def record(ranks, pattern, margin, target, nats):
    """A record of ten questions, of which the first ``target`` are answered on target."""
    plan = ranks.plan_of(ranks.parse(["out", "--personas", "bold", "--ranks", "32"]), ["bold"])
    arm = "base" if pattern is None else "contrastive-kl"
    cell = next(
        cell
        for cell in plan.cells()
        if cell.arm == arm and cell.options.get("pattern") in (pattern, None)
    )
    asked = {
        "choice": [{"margin": margin}] * 10,
        "free-text": [{"target": float(i < target)} for i in range(10)],
        "perplexity": [{"nats": nats * 20, "tokens": 20.0}] * 10,
    }
    results = {
        task: TaskResult([Outcome(f"q{i}", v) for i, v in enumerate(values)], {})
        for task, values in asked.items()
    }
    kind = "base" if arm == "base" else "mask"
    return Record(f"{pattern}", cell, "done", kind=kind, label=plan.label(cell), results=results)


def test_the_plan_runs_the_free_mask_and_one_mask_a_rank(ranks):
    words = ["out", "--personas", "bold", "--ranks", "8,32", "--levels", "0.01,0.02"]
    plan = ranks.plan_of(ranks.parse([*words, "--option", "rounds=4"]), ["bold"])
    cells = list(plan.cells())
    assert [cell.options.get("pattern") for cell in cells if cell.at_loss != 0.02] == [
        None, "default", "lora:8", "lora:32",
    ]  # fmt: skip
    assert {cell.options["rounds"] for cell in cells if cell.options} == {4}
    assert all(isinstance(cell, Cell) for cell in cells)


def test_shares_of_the_free_masks_persona(ranks):
    records = [
        record(ranks, None, 0.1, 4, 1.0),
        record(ranks, "default", 1.1, 10, 1.01),
        record(ranks, "lora:32", 0.6, 9, 1.02),
    ]
    lines = ranks.kept(frontier_points(records), records)
    assert len(lines) == 3
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    # loss, margin (0.5 of 1.0), text (9 of 10), gained (5 of 6), difference
    assert cells[:6] == ["lora:32", "0.05", "0.020", "0.500", "0.900", "0.833"]
    assert cells[6].startswith("-0.100 [")


def test_names_of_arms_say_the_pattern(ranks):
    assert ranks.pattern_of("contrastive-kl rounds=4 pattern=lora:8") == "lora:8"
    assert ranks.pattern_of("contrastive-kl rounds=4") == "free"
