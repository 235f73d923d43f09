"""Records as a run would leave them, made by hand."""

from prosopon.evaluation.tasks import Outcome, TaskResult
from prosopon.experiments.plan import Cell
from prosopon.experiments.records import Record

KINDS = {"base": "base", "prompt": "prompting", "wanda": "mask", "random": "control"}


def outcomes(values, measure="per-token"):
    """Return an outcome a value; a value may be a dict of measures."""
    return [
        Outcome(f"q{i}", v if isinstance(v, dict) else {measure: v}) for i, v in enumerate(values)
    ]


def done(arm, contrast="bold", seed=0, examples=0, *, label="", speed=None, details=None, **tasks):
    """Return a done record; ``tasks`` are values of every question by task."""
    results = {
        name.replace("_", "-"): TaskResult(outcomes(values)) for name, values in tasks.items()
    }
    cost = {"seconds": 2.0, "bytes": 10, "details": details or {}}
    return Record(
        f"{arm}-{contrast}-{seed}-{examples}-{label}", Cell(contrast, arm, seed, {}, examples),
        "done", kind=KINDS.get(arm, "mask"), label=label, opposite="cautious", cost=cost,
        speed=speed or {}, results=results,
    )  # fmt: skip
