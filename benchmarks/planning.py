"""How far the plans of ``prosopon doctor`` are from what extractions then take.

Each extraction is a process of its own. Its peak is the highest resident memory that the system
saw; its time is the processors' own time on one thread, so that others' work does not count.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.base import Row, benchmark

CASES: tuple[tuple[str, ...], ...] = (
    ("embedded", "bold", "contrastive-taylor", "64"),
    ("embedded", "bold", "contrastive-kl", "64"),
    ("embedded", "bold", "contrastive-wanda", "64"),
    ("embedded", "bold", "sparsegpt", "64"),
    ("smollm2", "library:cold", "contrastive-wanda", "16"),
    ("smollm2", "library:cold", "contrastive-kl", "16", "--fast"),
)
"""Model, persona, criterion, examples, and more words of the command line."""


@benchmark("plan", "planning", "measured peak memory of an extraction / planned")
def plan(repeats: int) -> list[Row]:
    """Criteria of every kind on the embedded model and on SmolLM2."""
    return [row(case, repeats) for case in CASES]


def row(case: tuple[str, ...], repeats: int) -> Row:
    """Plan an extraction, run it, and return both."""
    model, persona, criterion, examples, *more = case
    planned = describe(model, criterion, examples, more)
    runs = [_in_child(model, persona, criterion, examples, more) for _ in range(repeats)]
    ratios = [run["peak_bytes"] / planned["peak"] for run in runs]
    least, most = planned["seconds"]
    return {
        "name": f"peak memory, {' '.join(case)}",
        "baseline": "planned",
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "repeats": repeats,
        "bytes": statistics.median(run["peak_bytes"] for run in runs),
        "baseline_bytes": planned["peak"],
        "seconds": statistics.median(run["seconds"] for run in runs),
        "planned_seconds": [round(least, 1), round(most, 1)],
    }


def describe(model: str, criterion: str, examples: str, more: list[str]) -> dict[str, Any]:
    """Return the plan of an extraction."""
    words = ["doctor", "extract", "--model", model, "-c", criterion, "-n", examples, *more]
    report: dict[str, Any] = json.loads(_run("-m", "prosopon", *words, "--json", "--quiet", good=1))
    planned: dict[str, Any] = report["plans"][0]
    return planned


def _in_child(
    model: str, persona: str, criterion: str, examples: str, more: list[str]
) -> dict[str, float]:
    words = ["extract", "--model", model, "-t", persona, "-c", criterion, "-n", examples, *more]
    with tempfile.TemporaryDirectory() as folder:
        printed = _run("-m", "benchmarks.planning", *words, "-o", folder, "--force", "--quiet")
    measured: dict[str, float] = json.loads(printed.splitlines()[-1])
    return measured


def _run(*words: str, good: int = 0) -> str:
    """Run Python; a doctor that says that something is missing ends with 1."""
    done = subprocess.run(
        [sys.executable, *words], stdout=subprocess.PIPE, text=True, check=False,
        cwd=Path(__file__).parents[1], env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode not in (0, good):
        raise RuntimeError(f"{' '.join(words)}: exit code {done.returncode}")
    return done.stdout


def _child() -> None:
    """Be the command, then say what it took."""
    import time

    from benchmarks.memory import peak
    from prosopon.cli import main

    with suppress(SystemExit):  # the end of a command line, good or bad
        main()
    print(json.dumps({"peak_bytes": peak(), "seconds": time.process_time()}))


if __name__ == "__main__":
    _child()
