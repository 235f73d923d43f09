"""The table of a comparison, for the commands that make one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from prosopon.cli.console import out, say

if TYPE_CHECKING:
    from prosopon.experiments import Record, Summary

SHOWN = {
    "choice": "choice", "text: target": "target", "neither": "neither", "neutral": "neutral",
    "general ppl": "ppl", "cross-talk": "talk",
}  # fmt: skip
"""Columns that fit into 80 characters, with shorter headings."""


def show_summary(summary: Summary, records: Sequence[Record]) -> None:
    """Print the means of the main columns, and what was not measured; intervals are in the report.

    Raises:
        CompareError: Nothing has a result.
    """
    from prosopon.errors import CompareError
    from prosopon.experiments.records import unfinished

    left = unfinished(records)
    if not summary.rows:
        raise CompareError(f"no arm has a result; the first says: {left[0][2]}")
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("arm", no_wrap=True)
    names = [name for name in SHOWN if any(row.figures.get(name) for row in summary.rows)]
    for name in names:
        table.add_column(SHOWN[name], justify="right", no_wrap=True)
    for row in summary.rows:
        found = [row.figures.get(name) for name in names]
        table.add_row(row.arm, *("-" if each is None else f"{each.mean:.3f}" for each in found))
    out.print(table)
    for arm, who, why in left:
        say(f"{arm} ({who}): {why}", "yellow")
