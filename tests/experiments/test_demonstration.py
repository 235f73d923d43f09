"""The demonstration is a plan of six arms, and its rows keep their names."""

from prosopon.evaluation.tasks import Outcome, TaskResult
from prosopon.experiments import Cell, Record
from prosopon.experiments.demonstration import DEMO_ARMS, SIZES, DemoRow, demo_plan


def test_the_plan():
    plan = demo_plan(("bold", "cautious"), seed=3)
    assert plan.arms == ("base", "prompt", "wanda", "contrastive-wanda", "contrastive-taylor",
                         "random")  # fmt: skip
    assert set(plan.arms) == set(DEMO_ARMS)
    cells = list(plan.cells())
    assert len(cells) == 12
    assert {cell.seed for cell in cells} == {3}
    assert {cell.examples for cell in cells if cell.arm == "wanda"} == {SIZES["calibration"]}
    assert plan.sizes.of_task("choice") == SIZES["choices"]
    for task, name in {"free-text": "answers", "unseen": "unseen", "neutral": "neutral"}.items():
        assert plan.sizes.of_task(task) == SIZES[name]


def test_a_row_holds_the_means_and_the_answers():
    kinds = [{"target": 1.0, "opposite": 0.0, "neither": 0.0},
             {"target": 0.0, "opposite": 0.0, "neither": 1.0}]  # fmt: skip
    results = {
        "choice": TaskResult(
            [Outcome(f"q{i}", {"per-token": v, "per-byte": 1.0, "summed": 0.0})
             for i, v in enumerate((1.0, 0.5))]
        ),
        "unseen": TaskResult([Outcome("q", {"values": 0.0}), Outcome("q", {"forms": 1.0})]),
        "free-text": TaskResult(
            [Outcome(f"q{i}", v, f"question {i}", f"answer {i}") for i, v in enumerate(kinds)]
        ),
        "neutral": TaskResult([Outcome("n", {"right": 1.0})]),
    }  # fmt: skip
    cost = {"seconds": 1.23456, "bytes": 9,
            "details": {"pruned_share": 0.3, "shared_seconds": 0.5}}  # fmt: skip
    record = Record("k", Cell("bold", "wanda", 0), "done", kind="mask", cost=cost, results=results)
    row = DemoRow.of_record(record)
    assert row.answers == (("question 0", "answer 0"), ("question 1", "answer 1"))
    assert (row.neutral, row.shared_seconds) == (1, 0.5)
    assert row.to_json() == {
        "arm": "wanda", "persona": "bold", "choice_rate": 0.75, "choice_rate_per_byte": 1.0,
        "choice_rate_summed": 0.0, "choice_rate_unseen_values": 0.0,
        "choice_rate_unseen_forms": 1.0,
        "free_text": {"target": 0.5, "opposite": 0.0, "neither": 0.5},
        "neutral_accuracy": 1.0, "pruned_share": 0.3, "seconds": 1.235,
    }  # fmt: skip
