"""Write the table of all criteria from the folder of a sweep.

prosopon sweep --personas all --criteria all --sparsity default --seeds 0,1,2 --out DIR
prosopon sweep --personas all --criteria contrastive-taylor --sparsity auto --seeds 0,1,2 \
        --out DIR
python tools/criteria_table.py DIR --out docs/criteria.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from prosopon.errors import ProsoponError, SweepError
from prosopon.files import write_text
from prosopon.sweep import Store, markdown, summarise

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


def page(store: Store, remark: str = "") -> str:
    """Return the page: how it was measured, the table, and what has no result.

    Args:
        store: The sweep.
        remark: What else is to be known of how it was run.

    Raises:
        SweepError: No cell is done.
    """
    records = store.records()
    done = [record for record in records if record.status == "done"]
    if not done:
        raise SweepError(f"{store.folder}: no cell is done")
    people = len({record.cell.persona for record in done})
    seeds = sorted({record.cell.seed for record in done})
    sizes = sorted({record.cell.examples for record in done if record.cell.examples})
    effort = store.header["effort"]
    title = "# Every criterion, side by side"
    note = (
        f"Written by `python tools/criteria_table.py`. Model `{store.header['model']}`; mean over "
        f"{people} personas; {_spread(seeds)}; "
        f"calibration examples of each side: {_listed(sizes)}; a cell asks {effort['choices']} "
        f"pairs, {effort['answers']} free answers and {effort['general']} general texts. A name "
        "alone is the criterion at its default sparsity; a number is the share asked."
        + (f" {remark}" if remark else "")
    )
    return "\n".join([title, "", note, "", EXPLAINED, markdown(summarise(records), records), ""])


def _spread(seeds: list[int]) -> str:
    if len(seeds) == 1:
        return f"one seed, {seeds[0]}; ± is half of a 95% bootstrap interval over personas"
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
        write_text(args.out, page(Store.open(args.sweep), args.remark))
    except ProsoponError as error:
        sys.exit(f"error: {error}")
    print(f"written: {args.out}")


if __name__ == "__main__":
    main()
