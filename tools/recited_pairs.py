"""Which examples a mask recites: those that its weights were looked for on, others, unseen ones.

A mask's candidates may come from a part of the pairs alone (option candidate_pairs). This counts
the free answers that hold four words in a row of an answer of that part, of the rest, and of as
many answers of the persona that nobody learned from.

python -m tools.recited_pairs docs/lab/real/run11.zip docs/lab/real/run14.zip
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from tools.real_contrasts import contrasts
from tools.rejudge import NAMES
from tools.report_real import read

from prosopon.data.contrast import Contrast
from prosopon.evaluation.tasks import Setting
from prosopon.experiments.markdown import grid
from prosopon.experiments.records import Record
from prosopon.judges import Recital

PART = 16  # pairs, today's default of candidate_pairs
HEAD = ("persona", "seed", "arm", "answers", "recite", f"of {PART}", "of the rest", "unseen")


def rows(records: list[Record], chosen: dict[str, Contrast]) -> Iterator[list[str]]:
    """Yield a row of every record with free text, whose arm learned from more pairs than that."""
    for record in records:
        if "free-text" not in record.results or record.cell.examples <= PART:
            continue
        cell = record.cell
        setting = Setting(chosen[cell.contrast], examples=cell.examples, seed=cell.seed)
        learned = setting.learned_texts()
        drawn = drawn_pairs(len(learned), cell.seed)
        groups = (
            learned,
            [text for i, text in enumerate(learned) if i in drawn],
            [text for i, text in enumerate(learned) if i not in drawn],
            setting.unseen_texts(),
        )
        answers = [outcome.answer for outcome in record.results["free-text"].outcomes]
        counts = [sum(map(Recital(texts).recites, answers)) for texts in groups]
        yield [cell.contrast, str(cell.seed), record.name, str(len(answers)), *map(str, counts)]


def drawn_pairs(count: int, seed: int) -> set[int]:
    """Return the pairs that a mask's candidates are looked for on, of so many."""
    return set(random.Random(f"{seed}/candidates").sample(range(count), PART))


def main() -> None:
    """Read the command line and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", nargs="+", help="folders or zip files of report_real.py")
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--questions", type=int, default=60, help="as the report had")
    options = parser.parse_args()
    records = [record for place in options.records for record in read(Path(place))[0]]
    names = {NAMES.get(r.cell.contrast, r.cell.contrast) for r in records}
    chosen = contrasts(sorted(names), Path(options.data), options.questions)
    print("\n".join(grid(list(HEAD), list(rows(records, chosen)))))


if __name__ == "__main__":
    main()
