"""What a benchmark is: a function that returns rows, registered under an area and a name."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prosopon.registry import Registry
from prosopon.version import __version__

FORMAT_VERSION = 2
"""Version of the result files."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Benchmark:
    """A registered benchmark.

    Attributes:
        area: Which result file its rows go to.
        summary: One line of help: what is divided by what.
        run: Takes the number of repeats, returns one row for each thing measured.
    """

    area: str
    summary: str
    run: Callable[[int], list[Row]]


BENCHMARKS: Registry[Benchmark] = Registry("benchmark")


def benchmark(
    name: str, area: str, summary: str
) -> Callable[[Callable[[int], list[Row]]], Callable[[int], list[Row]]]:
    """Register ``run(repeats) -> rows`` as a benchmark."""

    def register(run: Callable[[int], list[Row]]) -> Callable[[int], list[Row]]:
        BENCHMARKS.add(name, Benchmark(area, summary, run))
        return run

    return register


def seconds(work: Callable[[], Any]) -> float:
    """Return the wall time of one run."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(
    name: str,
    work: Callable[[], Any],
    baseline_name: str,
    baseline: Callable[[], Any],
    repeats: int,
    **more: Any,
) -> Row:
    """Time two things in turns and return their medians and the median of their ratios.

    Each is run once before, which does not count. They take turns, so that whatever else the
    machine does falls on both.

    Args:
        name: What is measured.
        work: Runs it once.
        baseline_name: What it is measured against.
        baseline: Runs that once.
        repeats: How often each is timed.
        more: Recorded in the row: sizes, the goal.
    """
    baseline()
    work()
    pairs = [(seconds(baseline), seconds(work)) for _ in range(repeats)]
    ratios = [ours / theirs for theirs, ours in pairs]
    return {
        "name": name,
        "baseline": baseline_name,
        "seconds": statistics.median(ours for _, ours in pairs),
        "baseline_seconds": statistics.median(theirs for theirs, _ in pairs),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "repeats": repeats,
        **more,
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: beside another job, several wait for each other in a loop."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def head() -> dict[str, Any]:
    """Return what every result file begins with: versions, commit, machine, load."""
    import numpy
    import torch
    import transformers

    return {
        "format_version": FORMAT_VERSION,
        "prosopon": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def commit() -> str:
    """Return the commit that is measured ("-dirty" where files differ), or "unknown"."""
    done = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return done.stdout.strip() or "unknown"


def machine() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
