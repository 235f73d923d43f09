"""Write the table of all criteria from the folder of a sweep.

prosopon sweep --personas all --criteria all --sparsity default --seeds 0,1,2 \
        --examples 128 --choices 60 --output DIR
prosopon sweep --personas all --criteria contrastive-taylor --sparsity auto --seeds 0,1,2 \
        --examples 128 --choices 60 --output DIR
python tools/criteria_table.py DIR --out docs/criteria.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from prosopon.errors import ExperimentError, ProsoponError
from prosopon.experiments import Record, Results, SummaryRow, summarise
from prosopon.experiments.markdown import grid, spread
from prosopon.experiments.records import unfinished
from prosopon.files import write_text

EXPLAINED = """\
- choice: share of held-out pairs of answers in which the target's is likelier, per token, summed
  and per byte.
- target, opposite, neither: share of free answers sampled at temperature 1 that the judge gives
  to the persona, to its opposite, to nobody.
- skills: share of neutral questions answered right to the letter.
- perplexity ratio: perplexity of general text that no mask was calibrated with, over the base
  model's. The text is read without a system line, so a prompt has 1.
- cross-talk: mean absolute change of the choice rate on the other axes.
- pruned: share of the weights masked. seconds: extraction of one persona, without what all
  personas of a seed share (general text and its damage).
"""


HEADINGS = {
    "choice": "choice per token",
    "summed": "summed",
    "per byte": "per byte",
    "text: target": "target",
    "opposite": "opposite",
    "neither": "neither",
    "neutral": "skills",
    "ppl ratio": "perplexity ratio",
    "cross-talk": "cross-talk",
}


def page(results: Results, remark: str = "") -> str:
    """Return the page: how it was measured, the table, and what has no result.

    Args:
        results: The sweep.
        remark: What else is to be known of how it was run.

    Raises:
        ExperimentError: No cell is done.
    """
    records = results.records()
    done = [record for record in records if record.status == "done"]
    if not done:
        raise ExperimentError(f"{results.folder}: no cell is done")
    people = len({record.cell.contrast for record in done})
    seeds = sorted({record.cell.seed for record in done})
    sizes = sorted({record.cell.examples for record in done if record.cell.examples})
    title = "# Every criterion, side by side"
    note = (
        f"Written by `python tools/criteria_table.py`. Model `{results.header['model']}`; mean "
        f"over {people} personas; {_spread(seeds)}; "
        f"calibration examples of each side: {_listed(sizes)}; a cell asks "
        f"{_asked(done, 'choice')} pairs, {_asked(done, 'free-text')} free answers and "
        f"{_asked(done, 'perplexity')} general texts. A name alone is the criterion at its "
        "default sparsity; a number is the share asked." + (f" {remark}" if remark else "")
    )
    rows = [[row.arm, *_cells(row)] for row in summarise(records).rows]
    lines = grid(["arm", *HEADINGS.values(), "pruned", "seconds"], rows)
    left = [f"- {arm} ({who}): {why}" for arm, who, why in unfinished(records)]
    lines += ["", "Cells without a result:", "", *left] if left else []
    return "\n".join([title, "", note, "", EXPLAINED, *lines, ""])


def _cells(row: SummaryRow) -> list[str]:
    figures = row.over_seeds or row.figures
    cells = [spread(figures.get(name)) for name in HEADINGS]
    return [*cells, f"{row.costs['pruned_share'] or 0:.2%}", f"{row.costs['seconds'] or 0:.1f}"]


def _asked(records: list[Record], task: str) -> int:
    return max(len(r.results[task].outcomes) if task in r.results else 0 for r in records)


def _spread(seeds: list[int]) -> str:
    if len(seeds) == 1:
        return f"one seed, {seeds[0]}; ± is half of a 95% bootstrap interval over questions"
    return f"± is half of a 95% t interval over seeds {_listed(seeds)}"


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values)) or "none"


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", type=Path, help="folder of prosopon sweep")
    parser.add_argument("--out", type=Path, default=Path("docs/criteria.md"))
    parser.add_argument("--remark", default="", help="what else is to be known of the run")
    args = parser.parse_args()
    try:
        write_text(args.out, page(Results.open(args.sweep), args.remark))
    except ProsoponError as error:
        sys.exit(f"error: {error}")
    print(f"written: {args.out}")


if __name__ == "__main__":
    main()
