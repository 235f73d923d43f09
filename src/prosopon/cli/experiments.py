"""What the commands that run experiments share: their judges, their tables on the terminal."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from prosopon.cli.console import out, print_json, progress, say
from prosopon.cli.loading import load
from prosopon.cli.options import ModelPlace

if TYPE_CHECKING:
    from prosopon.data.contrast import Contrast
    from prosopon.experiments.experiment import Experiment, ExperimentResult
    from prosopon.experiments.frontier import FrontierPoint
    from prosopon.intervals import Interval
    from prosopon.judges import BaseReader, Judge

COMPARISON = {
    "choice": "choice", "text: target": "target", "neither": "neither", "recital": "recital",
    "base's recital": "base's", "neutral": "neutral", "general ppl": "ppl", "cross-talk": "talk",
}  # fmt: skip
"""Columns that fit into 80 characters, with shorter headings."""

HUGE = 1e5
"""From here on a figure is shown by its power of ten."""

GRID = {
    "choice": "choice", "text: target": "target", "opposite": "opposite", "neither": "neither",
    "ppl ratio": "ppl ratio",
}  # fmt: skip


def this_command() -> str:
    """Return the command as it was typed."""
    return shlex.join(["prosopon", *sys.argv[1:]])


def judges_with(extra: Any) -> Any:
    """Return what makes a contrast's judges; ``extra`` makes further ones, None makes none."""
    from prosopon.judges import judges_of

    def make(contrast: Contrast, reader: BaseReader | None) -> list[Judge]:
        return judges_of(contrast, extra(contrast) if extra else (), reader=reader)

    return make


def run_experiment(
    experiment: Experiment, model: str, place: ModelPlace, show: Callable[..., None], as_json: bool
) -> None:
    """Check an experiment, load its model, run it, and print what it found."""
    experiment.check()
    loaded = load(model, place)
    with progress() as report:
        findings = experiment.run(loaded, report)
    if as_json:
        print_json({"folder": str(experiment.folder), **findings.to_json()})
    else:
        show(findings)


def plain_table(title: str | None = None, *headings: str) -> Table:
    """Return an empty table as all commands draw it."""
    return Table(*headings, title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def show_findings(findings: ExperimentResult) -> None:
    """Print the means of the main columns, what was not measured, and what was written."""
    summary = findings.summary
    if summary.frontier:
        _show_frontier(summary.frontier)
        show_gaps(findings)
        return
    table, counts = plain_table(), summary.counts()
    table.padding, table.show_edge = 0, False  # or the longest name does not fit
    table.add_column("arm", no_wrap=True)
    names = [name for name in COMPARISON if any(row.figures.get(name) for row in summary.rows)]
    for name in names:
        table.add_column(COMPARISON[name], justify="right", no_wrap=True)
    for row in summary.rows:
        table.add_row(row.arm, *(_short(row.figures.get(name)) for name in names))
    table.add_section()
    table.add_row("n", *(counts[name] for name in names))
    out.print(table)
    show_gaps(findings)


def _short(figure: Interval | None) -> str:
    """Return a mean with three decimals, fewer where it is large: a broken model's perplexity."""
    if figure is None:
        return "-"
    if not abs(figure.mean) < HUGE:
        return f"{figure.mean:.0e}"
    return f"{figure.mean:.{max(0, 4 - len(str(int(figure.mean))))}f}"


def _show_frontier(points: Sequence[FrontierPoint]) -> None:
    """Print what every arm reaches at each level of loss, over all contrasts."""
    from prosopon.experiments.frontier import HELP

    table = plain_table()
    table.add_column("arm", no_wrap=True)
    for name in HELP:
        table.add_column(name, justify="right", no_wrap=True)
    for point in points:
        if not point.contrast:
            level = f"{point.level:g}" if point.level else "-"
            table.add_row(point.arm, level, *map(_short, point.cells))
    out.print(table)


def show_gaps(findings: ExperimentResult) -> None:
    """Print what fell short, what says nothing, what was not measured, and what was written."""
    from prosopon.experiments.records import unasked, unfinished
    from prosopon.experiments.words import remarks

    for line in (*findings.notes, *remarks(findings.summary)):
        say(line, "yellow")
    for arm, who, why in unfinished(findings.records):
        say(f"{arm} ({who}): {why}", "yellow")
    for arms, why in unasked(findings.records):
        say(f"not asked ({arms}): {why}", "yellow")
    for path in findings.files:
        if path.suffix != ".svg":
            say(f"written: {path}")
