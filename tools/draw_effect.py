"""Draw the picture of the README from the folder of a sweep, the same as docs/criteria.md.

python tools/draw_effect.py SWEEP_DIR docs/figures/effect.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

from prosopon.sweep import Store, Summary, summarise

matplotlib.use("svg")
import matplotlib.pyplot as plt

COLOURS = {"target": "#2a7f62", "opposite": "#c8553d", "neither": "#c9c5bd"}
LABELS = {
    "target": "the persona's own words",
    "opposite": "its opposite's",
    "neither": "nobody's: broken, or about something else",
}


def draw(summaries: list[Summary], answers: int, path: Path) -> None:
    """Draw one bar an arm: shares of free answers, and the neutral skills kept."""
    rows = [summary for summary in summaries if summary.done][::-1]
    plt.rcParams.update({"font.size": 10, "svg.hashsalt": "prosopon", "svg.fonttype": "path"})
    figure, axis = plt.subplots(figsize=(9, 0.4 * len(rows) + 1.2), layout="constrained")
    for place, summary in enumerate(rows):
        left, found = 0.0, summary.over_personas
        for kind, colour in COLOURS.items():
            share = found[kind].mean
            axis.barh(place, share, left=left, color=colour, height=0.66)
            if share >= 0.06:
                dark = "white" if kind != "neither" else "#333333"
                axis.text(
                    left + share / 2, place, f"{share:.0%}", ha="center", va="center", color=dark
                )
            left += share
        kept, pruned = found["skills"].mean, found["pruned_share"].mean
        axis.text(1.015, place, f"{kept:.0%} skills kept, {pruned:.1%} pruned", va="center")
    axis.set_yticks(range(len(rows)), [summary.setting.label for summary in rows])
    axis.set_xlim(0, 1)
    axis.set_xticks([])
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    people = max(summary.personas for summary in rows)
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
    store = Store.open(args.sweep)
    records = store.records()
    seeds = len({record.cell.seed for record in records})
    draw(summarise(records), seeds * store.header["effort"]["answers"], args.figure)


if __name__ == "__main__":
    main()
