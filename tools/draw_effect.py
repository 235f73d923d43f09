"""Draw the picture of the README from the folder of a sweep, the same as docs/criteria.md.

python tools/draw_effect.py SWEEP_DIR docs/figures/effect.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

from prosopon.experiments import Results, Summary, summarise
from prosopon.intervals import Interval

matplotlib.use("svg")
import matplotlib.pyplot as plt

COLOURS = {"target": "#2a7f62", "opposite": "#c8553d", "neither": "#c9c5bd"}
LABELS = {
    "target": "the persona's own words",
    "opposite": "its opposite's",
    "neither": "nobody's: broken, or about something else",
}


COLUMNS = {"target": "text: target", "opposite": "opposite", "neither": "neither"}


def _mean(interval: Interval | None) -> float:
    return 0.0 if interval is None else interval.mean


def draw(summary: Summary, answers: int, path: Path) -> None:
    """Draw one bar an arm: shares of free answers, and the neutral skills kept."""
    rows = summary.rows[::-1]
    plt.rcParams.update({"font.size": 10, "svg.hashsalt": "prosopon", "svg.fonttype": "path"})
    figure, axis = plt.subplots(figsize=(9, 0.4 * len(rows) + 1.2), layout="constrained")
    for place, row in enumerate(rows):
        left = 0.0
        for kind, colour in COLOURS.items():
            share = _mean(row.figures.get(COLUMNS[kind]))
            axis.barh(place, share, left=left, color=colour, height=0.66)
            if share >= 0.06:
                dark = "white" if kind != "neither" else "#333333"
                axis.text(
                    left + share / 2, place, f"{share:.0%}", ha="center", va="center", color=dark
                )
            left += share
        kept, pruned = _mean(row.figures.get("neutral")), row.costs["pruned_share"]
        axis.text(1.015, place, f"{kept:.0%} skills kept, {pruned:.1%} pruned", va="center")
    axis.set_yticks(range(len(rows)), [row.arm for row in rows])
    axis.set_xlim(0, 1)
    axis.set_xticks([])
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    people = max(row.contrasts for row in rows)
    axis.set_title(f"What the model says, asked freely ({people} personas, {answers} answers each)")
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[kind]) for kind in COLOURS]
    figure.legend(
        handles, list(LABELS.values()), loc="outside lower center", ncols=3, frameon=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None}, facecolor="white")


def main() -> None:
    """Parse and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", type=Path, help="folder of prosopon sweep")
    parser.add_argument("figure", type=Path)
    args = parser.parse_args()
    records = Results.open(args.sweep).records()
    texts = [record.results["free-text"] for record in records if "free-text" in record.results]
    seeds = len({record.cell.seed for record in records})
    draw(summarise(records), seeds * max(len(text.outcomes) for text in texts), args.figure)


if __name__ == "__main__":
    main()
