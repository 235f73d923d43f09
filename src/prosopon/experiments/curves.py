"""Figures of a grid: what is gained and lost over sparsity and over calibration size."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

from prosopon.drawing import figure, svg
from prosopon.experiments.columns import RATIO
from prosopon.experiments.summary import Summary, SummaryRow
from prosopon.intervals import Interval

Over = Literal["sparsity", "examples"]
TITLES: dict[Over, str] = {
    "sparsity": "share of weights asked to be pruned",
    "examples": "calibration examples a side",
}
GAIN = "text: target"
Point = tuple[float, Interval, Interval]


def curve(summary: Summary, over: Over) -> str | None:
    """Return the persona's share and the perplexity ratio over one number of the plan.

    The band is the interval over seeds, or over questions where there is one seed. None where no
    arm has two points.
    """
    curves = {label: points for label, points in _points(summary, over).items() if len(points) > 1}
    if not curves:
        return None
    drawn, (left, right) = figure(11, 4, ncols=2)
    for label, points in curves.items():
        for place, axes in ((1, left), (2, right)):
            _draw(axes, label, [(point[0], point[place]) for point in points])  # type: ignore[misc]
    base = next((row for row in summary.rows if row.kind == "base"), None)
    if base is not None and (share := base.figures.get(GAIN)):
        left.axhline(share.mean, color="#999999", linewidth=0.8, linestyle="--", label="base")
    places = sorted({point[0] for points in curves.values() for point in points})
    words = [f"{100 * x:g}%" if over == "sparsity" else f"{x:g}" for x in places]
    for axes, title in ((left, "free answers that are the persona's"), (right, RATIO)):
        axes.set_xscale("log")
        axes.set_xticks(places, words)
        axes.set_xticks([], minor=True)
        axes.set_xlabel(TITLES[over])
        axes.set_ylabel(title)
    right.set_yscale("log")
    for axis_format in (right.yaxis.set_major_formatter, right.yaxis.set_minor_formatter):
        axis_format("{x:.4g}")
    lines = left.get_legend_handles_labels()
    drawn.legend(*lines, loc="outside lower center", ncols=3, frameon=False)
    return svg(drawn, f"over {over}", background="none")


def _points(summary: Summary, over: Over) -> dict[str, list[Point]]:
    curves: dict[str, list[Point]] = defaultdict(list)
    for row in summary.rows:
        x, label = _place(row, over)
        figures = row.over_seeds or row.figures
        gain, loss = figures.get(GAIN), figures.get(RATIO)
        if x is not None and gain is not None and loss is not None:
            curves[label].append((x, gain, loss))
    return {label: sorted(points, key=lambda point: point[0]) for label, points in curves.items()}


def _place(row: SummaryRow, over: Over) -> tuple[float | None, str]:
    """Return where a row stands on a curve, and the name of that curve."""
    sparsity = row.options.get("sparsity")
    if over == "examples":
        return (float(row.examples) if row.examples else None), row.arm.split(" n=")[0]
    if not isinstance(sparsity, float):
        return None, ""
    return sparsity, f"{row.registered}, {row.examples} examples"


def _draw(axes: Any, label: str, points: Sequence[tuple[float, Interval]]) -> None:
    x = [place for place, _ in points]
    (line,) = axes.plot(x, [i.mean for _, i in points], marker="o", markersize=3, label=label)
    # One text or seed tells nothing of the spread.
    wide = [i.count > 1 and math.isfinite(i.half_width) for _, i in points]
    ends = [
        (i.low, i.high) if band else (i.mean, i.mean)
        for (_, i), band in zip(points, wide, strict=True)
    ]
    low, high = zip(*ends, strict=True)
    axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
