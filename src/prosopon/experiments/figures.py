"""Figures of a comparison, as SVG: the frontier, personas by arm, what arms cost."""

import math
from collections.abc import Sequence
from typing import Any

from prosopon.drawing import check_drawing, figure, svg
from prosopon.experiments.columns import COLUMNS, estimate
from prosopon.experiments.records import Record, by_arm
from prosopon.experiments.summary import Summary, SummaryRow

KIND_COLOURS = {
    "base": "#000000",
    "prompting": "#0072b2",
    "training": "#d55e00",
    "mask": "#007a5e",
    "control": "#8a8a8a",
}
"""Okabe and Ito's colours, which differ for colour-blind readers too."""

MARKERS = {"base": "*", "prompting": "s", "training": "^", "mask": "o", "control": "x"}
LETTER_INCHES = 0.085
"""Inches that a letter of an arm's name takes at most, on average."""

BROKEN = 3.0
"""A perplexity ratio beyond which an arm is drawn at the edge."""

FINE = 0.002
"""Changes of perplexity up to this share are drawn in proportion, larger ones by their log."""

TICKS = (-0.5, -0.1, -0.02, 0, 0.005, 0.02, 0.1, 0.5, BROKEN - 1)


def check_figures() -> None:
    """Raise :class:`OptionError` where matplotlib is missing."""
    check_drawing("pip install 'prosopon[compare]', or give --no-plots")


LINE, LETTER = 0.033, 0.013
"""Height of a name, and width of one of its letters as a share of the figure's."""


def frontier(summary: Summary) -> str | None:
    """Return persona gain against what is lost; None where either was not measured.

    Gain is the share of free answers on target; loss the perplexity of general text over the
    base's. Arms that more than triple it stand at the right edge.
    """
    base = next((row for row in summary.rows if row.arm == "base"), None)
    yardstick = base.figures.get("general ppl") if base else None
    points = []
    for row in summary.rows:
        gain, loss = row.figures.get("text: target"), row.figures.get("general ppl")
        if gain is not None and loss is not None and yardstick is not None:
            points.append((row, loss.mean / yardstick.mean, gain))
    if not points:
        return None
    drawn, axes = figure(8.6, 5.6)
    for row, ratio, gain in points:
        low, high = max(gain.mean - gain.low, 0), max(gain.high - gain.mean, 0)
        reach = [[low], [high]] if low < 1 else None
        axes.errorbar(
            across(ratio), gain.mean, yerr=reach, fmt=MARKERS[row.kind],
            color=KIND_COLOURS[row.kind], capsize=2, markersize=6,
        )  # fmt: skip
    left = min(across(ratio) for _, ratio, _ in points)
    width = across(BROKEN) - left
    _label(axes, [(across(ratio), gain.mean, row) for row, ratio, gain in points], width)
    axes.set_xlim(left - 0.05 * width, left + 1.25 * width)
    ticks = [tick for tick in TICKS if across(1 + tick) >= left - 1e-9]
    words = [f"{tick:+.1%}".replace(".0%", "%") if tick else "0" for tick in ticks[:-1]]
    axes.set_xticks([across(1 + tick) for tick in ticks], [*words, f"≥ {BROKEN - 1:+.0%}"])
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlabel("lost: change of general text's perplexity (read without any prompt)")
    axes.set_ylabel("gained: free answers that are the persona's")
    for kind, colour in KIND_COLOURS.items():
        if any(row.kind == kind for row, _, _ in points):
            axes.plot([], [], MARKERS[kind], color=colour, label=kind)
    axes.legend(loc="center right", frameon=False)
    return svg(drawn, "gained and lost", background="none")


def across(ratio: float) -> float:
    """Return where a perplexity ratio stands: 0 for 1, in proportion near it, then by its log."""
    change = min(ratio, BROKEN) - 1
    return math.copysign(math.log10(1 + abs(change) / FINE), change)


def _label(axes: Any, points: list[tuple[float, float, SummaryRow]], width: float) -> None:
    """Write names right of their points; where they would overlap, below or above, with a line."""
    taken: list[tuple[float, float, float]] = []
    for x, y, row in sorted(points, key=lambda point: -point[1]):
        end = x + LETTER * width * len(row.arm)
        place = _free_height(x, end, y, taken)
        taken.append((x, end, place))
        line = {"arrowstyle": "-", "lw": 0.4, "color": "#999999"}
        axes.annotate(
            row.arm, (x, y), xytext=(x + 0.016 * width, place), fontsize=8, va="center",
            color=KIND_COLOURS[row.kind], arrowprops=line if abs(y - place) > 0.02 else None,
        )  # fmt: skip


def _free_height(
    start: float, end: float, height: float, taken: Sequence[tuple[float, float, float]]
) -> float:
    """Return the nearest height, rather below, where a name from start to end meets no other."""
    for step in (-LINE, LINE):
        place = height
        while any(abs(place - h) < LINE and start < b and a < end for a, b, h in taken):
            place += step
        if place >= 0:
            break
    return place


def by_contrast(records: Sequence[Record], name: str = "text: target") -> str | None:
    """Return a heat map of one column: arms by contrasts; None where it was not measured."""
    column = next(c for c in COLUMNS if c.name == name)
    arms = by_arm(records)
    contrasts = list(dict.fromkeys(r.cell.contrast for rows in arms.values() for r in rows))
    table = {}
    for arm, rows in arms.items():
        cells = [
            estimate([r for r in rows if r.cell.contrast == contrast], column)
            for contrast in contrasts
        ]
        if any(cell is not None for cell in cells):
            table[arm] = [float("nan") if cell is None else cell.mean for cell in cells]
    if not table:
        return None
    names = max(1.6, LETTER_INCHES * max(map(len, table)))
    drawn, axes = figure(names + 0.85 * len(contrasts) + 1.2, 0.9 + 0.3 * len(table))
    image = axes.imshow(list(table.values()), cmap="YlGnBu", vmin=0, vmax=1, aspect="auto")
    for y, values in enumerate(table.values()):
        for x, value in enumerate(values):
            if value == value:
                ink = "white" if value > 0.6 else "#222222"
                axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks(range(len(contrasts)), contrasts, rotation=30, ha="right")
    axes.set_yticks(range(len(table)), list(table))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    drawn.colorbar(image, ax=axes, fraction=0.03, pad=0.02)
    return svg(drawn, f"{name} by persona", background="none")


def costs(summary: Summary) -> str | None:
    """Return bars of what arms cost: seconds to make, bytes to keep, tokens and time a request."""
    panels = {
        "seconds": "seconds to make",
        "bytes": "bytes to keep",
        "added_tokens": "prompt tokens added",
        "answer": "seconds an answer",
    }
    rows = [row for row in summary.rows if row.costs.get("added_tokens") is not None][::-1]
    if not rows:
        return None
    drawn, axes = figure(10, 0.9 + 0.24 * len(rows), ncols=len(panels), sharey=True)
    for place, (name, title) in zip(axes, panels.items(), strict=True):
        values = [row.costs.get(name) or 0.0 for row in rows]
        place.barh(range(len(rows)), values, color=[KIND_COLOURS[row.kind] for row in rows])
        place.set_title(title, fontsize=10)
        place.ticklabel_format(axis="x", style="plain", useOffset=False)
        place.locator_params(axis="x", nbins=3)
        if name == "bytes":
            place.xaxis.set_major_formatter(lambda v, _: f"{v / 1024:,.0f} K")
    axes[0].set_yticks(range(len(rows)), [row.arm for row in rows])
    return svg(drawn, "costs of the arms", background="none")
