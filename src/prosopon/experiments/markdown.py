"""``table.md``: all arms, their figures with intervals, what was lost, what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from prosopon.experiments.columns import CROSS_TALK, CROSS_TALK_HELP
from prosopon.experiments.notes import notes_of
from prosopon.experiments.records import Record, judges_told, unasked, unfinished
from prosopon.experiments.summary import Row, Summary
from prosopon.experiments.words import conclusions, sentence
from prosopon.intervals import Interval

COSTS = {
    "seconds": "seconds of extraction, training or indexing, without what all personas share",
    "bytes": "bytes of the persona beside the base model",
    "added_tokens": "prompt tokens added to a request",
    "answer": "seconds of one whole answer, one request at a time",
    "tokens_per_second": "tokens a second of such a request",
    "pruned_share": "share of the sites' weights pruned",
}


def headings(summary: Summary) -> dict[str, str]:
    """Return the columns' headings with one line of help each."""
    found = {column.name: column.help for column in summary.columns}
    if any(CROSS_TALK in row.figures for row in summary.rows):
        found[CROSS_TALK] = CROSS_TALK_HELP
    return found


def markdown(summary: Summary, records: Sequence[Record]) -> str:
    """Return the page."""
    names = headings(summary)
    extent = f"{extent_of(summary)} Intervals are 95%, bootstrap over questions."
    lines = ["# Comparison", "", extent, ""]
    lines += _grid(["arm", *names], [[row.arm, *_figures(row, names)] for row in summary.rows])
    lines += ["", "What an arm costs, means over personas and seeds:", ""]
    lines += _grid(["arm", *COSTS], [[row.arm, *_costs(row)] for row in summary.rows])
    lines += ["", *(f"- *{name}*: {told}." for name, told in {**names, **COSTS}.items())]
    lines += ["", "## What the intervals carry", "", *_nested(conclusions(summary))]
    lines += ["", "## Every test", ""]
    lines += [f"- {t.arm}: {sentence(t)}; {t.questions} questions" for t in summary.comparisons]
    judges = judges_told(records)
    if judges:
        lines += ["", "## Judges of free answers", "", *(f"- {told}" for told in judges)]
    for notes in notes_of(records):
        lines += ["", f"## What {notes.task} says besides", ""]
        lines += [f"- {name}: {value}" for name, value in notes.shared]
        if notes.rows:
            lines += ["", *_grid(notes.headings, notes.rows)]
    left = [f"- {arm} ({who}): {why}" for arm, who, why in unfinished(records)]
    left += [f"- {arms}: {why}" for arms, why in unasked(records)]
    if left:
        lines += ["", "## Not measured", "", *left]
    return "\n".join(lines) + "\n"


def show(interval: Interval | None) -> str:
    """Return a figure with its interval, ``-`` where there is none."""
    if interval is None:
        return "-"
    if interval.low == float("-inf"):
        return f"{interval.mean:.3f}"
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def cost(name: str, value: float | None) -> str:
    """Return a cost for people; ``-`` where it was not measured."""
    if value is None:
        return "-"
    if name == "pruned_share":
        return f"{value:.2%}"
    if name in ("bytes", "added_tokens", "tokens_per_second"):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def extent_of(summary: Summary) -> str:
    """Return how much was compared, in a sentence."""
    contrasts = max((row.contrasts for row in summary.rows), default=0)
    seeds = max((row.seeds for row in summary.rows), default=0)
    return f"{len(summary.rows)} arms, {contrasts} contrasts, {seeds} seed{'s' * (seeds != 1)}."


def _nested(told: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    lines = []
    for arm, sentences in told:
        lines += [f"- **{arm}**", *(f"  - {sentence}" for sentence in sentences)]
    return lines


def _figures(row: Row, names: dict[str, str]) -> list[str]:
    return [show(row.figures.get(name)) for name in names]


def _costs(row: Row) -> list[str]:
    return [cost(name, row.costs.get(name)) for name in COSTS]


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]
