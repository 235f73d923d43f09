"""The table of what masks of few rows and columns keep, from records that are made by hand."""

from pathlib import Path

from tools.report_real import read

from prosopon.evaluation.tasks import Outcome, TaskResult
from prosopon.experiments.frontier import frontier_points
from prosopon.experiments.plan import Cell
from prosopon.experiments.records import Record
from tools import lora_ranks as tool

ROOT = Path(__file__).parents[2]


def record(pattern, margin, target, nats):
    """A record of ten questions, of which the first ``target`` are answered on target."""
    plan = tool.plan_of(tool.parse(["out", "--personas", "bold", "--ranks", "32"]), ["bold"])
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


def test_the_plan_runs_the_free_mask_and_one_mask_a_rank():
    words = ["out", "--personas", "bold", "--ranks", "8,32", "--levels", "0.01,0.02"]
    plan = tool.plan_of(tool.parse([*words, "--option", "rounds=4"]), ["bold"])
    cells = list(plan.cells())
    assert [cell.options.get("pattern") for cell in cells if cell.at_loss != 0.02] == [
        None, "default", "lora:8", "lora:32",
    ]  # fmt: skip
    assert {cell.options["rounds"] for cell in cells if cell.options} == {4}
    assert all(isinstance(cell, Cell) for cell in cells)


def test_shares_of_the_free_masks_persona():
    records = [
        record(None, 0.1, 4, 1.0),
        record("default", 1.1, 10, 1.01),
        record("lora:32", 0.6, 9, 1.02),
    ]
    lines = tool.kept(frontier_points(records), records)
    assert len(lines) == 3
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    # loss, margin (0.5 of 1.0), text (9 of 10), gained (5 of 6), difference
    assert cells[:6] == ["lora:32", "0.05", "0.020", "0.500", "0.900", "0.833"]
    assert cells[6].startswith("-0.100 [")


def test_names_of_arms_say_the_pattern():
    assert tool.pattern_of("contrastive-kl rounds=4 pattern=lora:8") == "lora:8"
    assert tool.pattern_of("contrastive-kl rounds=4") == "free"


def test_the_pages_table_is_that_of_its_records():
    records = read(ROOT / "docs/lab/real/lora-ranks.zip")[0]
    page = (ROOT / "docs/lab/lora-ranks.md").read_text("utf-8")
    for line in tool.kept(frontier_points(records), records)[2:]:
        name, _, _, *shares, gap = (cell.strip() for cell in line.strip("|").split("|"))
        row = next(
            r
            for r in page.replace("*", "").splitlines()
            if r.startswith(f"| {name} |") and gap in r
        )
        assert all(share in row for share in shares)
