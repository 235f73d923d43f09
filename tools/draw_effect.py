"""Draw the picture of the README from the results of ``prosopon demo``.

prosopon demo --personas all --json results.json
python tools/draw_effect.py results.json docs/figures/effect.svg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

COLOURS = {"target": "#2a7f62", "opposite": "#c8553d", "neither": "#c9c5bd"}
LABELS = {
    "target": "the persona's own words",
    "opposite": "its opposite's",
    "neither": "nobody's: text that the grammar does not write",
}


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw one bar an arm: shares of free answers, and the neutral skills kept."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in record["arms"]:
        rows.setdefault(row["arm"], []).append(row)
    arms = list(rows)[::-1]
    plt.rcParams.update({"font.size": 10, "svg.hashsalt": "prosopon", "svg.fonttype": "path"})
    figure, axis = plt.subplots(figsize=(9, 3.6), layout="constrained")
    for place, arm in enumerate(arms):
        left = 0.0
        for kind, colour in COLOURS.items():
            share = mean([row["free_text"][kind] for row in rows[arm]])
            axis.barh(place, share, left=left, color=colour, height=0.66)
            if share >= 0.06:
                dark = "white" if kind != "neither" else "#333333"
                axis.text(
                    left + share / 2, place, f"{share:.0%}", ha="center", va="center", color=dark
                )
            left += share
        neutral = mean([row["neutral_accuracy"] for row in rows[arm]])
        pruned = mean([row["pruned_share"] for row in rows[arm]])
        axis.text(1.015, place, f"{neutral:.0%} skills kept, {pruned:.1%} pruned", va="center")
    axis.set_yticks(range(len(arms)), arms)
    axis.set_xlim(0, 1)
    axis.set_xticks([])
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    people = len({row["persona"] for row in record["arms"]})
    answers = record["sizes"]["answers"]
    axis.set_title(f"What the model says, asked freely ({people} personas, {answers} answers each)")
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[kind]) for kind in COLOURS]
    figure.legend(
        handles, list(LABELS.values()), loc="outside lower center", ncols=3, frameon=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None}, facecolor="white")


def mean(values: list[float]) -> float:
    """Return the arithmetic mean."""
    return sum(values) / len(values)


def main() -> None:
    """Parse and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("figure", type=Path)
    args = parser.parse_args()
    draw(json.loads(args.results.read_text()), args.figure)


if __name__ == "__main__":
    main()
