"""Free answers read blind: a reader who does not know the arms says whose every answer is.

The judge of a report is a classifier, and a classifier can be fooled. This draws the same
questions' answers of several arms, shuffles them into one sheet a contrast, and scores what readers
(people, or a language model) wrote down.

python -m tools.blind_reading draw docs/real/records.zip --questions 40 --out build/blind
python -m tools.blind_reading score build/blind --page docs/real/blind.md

``draw`` writes ``CONTRAST.md`` for the readers and ``key.json``, which they must not see. A reader
called NAME writes ``NAME/CONTRAST.csv``: a line ``number,verdict,sense`` for every answer. The
verdict is target, opposite or neither, sense is 1 where the answer makes sense, else 0. Who they
are may stand in ``readers.txt``, as a sentence or two. ``judge`` puts the verdicts of other records
of the same answers into the key; those of before stay beside them.

python -m tools.blind_reading judge build/blind build/rejudged
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import correlation, fmean
from tempfile import TemporaryDirectory
from typing import Any, get_args
from zipfile import ZipFile

from tools.report_real import ARMS, read

from prosopon.data import library
from prosopon.errors import DataError
from prosopon.evaluation.tasks import Outcome
from prosopon.evaluation.tasks.free_text import verdicts_of
from prosopon.experiments.markdown import grid, show
from prosopon.experiments.plan import level_words
from prosopon.experiments.records import Record
from prosopon.files import write_text
from prosopon.intervals import bootstrap_interval, paired_difference
from prosopon.judges import Verdict, agreement, either

KEY = "key.json"
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
TASK = "free-text"
SECOND = "three-way"
JUDGES = {
    "judge": "first judge", "second": "second judge", "either": "either judge",
    "former": "former judge",
}  # fmt: skip
"""What the key holds of them, or :func:`read_key` adds, and what the page calls them."""

GAPS = ("target", "sense", "both")
"""Columns in which arms are compared with one."""

Row = dict[str, Any]
"""An answer of the key: number, arm, question, and what the report's judge said."""

Labels = dict[str, dict[str, dict[int, tuple[Verdict, int]]]]
"""Verdict and sense by reader, contrast and number."""

HEAD = """# Whose answer is it?

- **target** is {target}: {ours}
- **opposite** is {opposite}: {theirs}

A small language model wrote these answers, sometimes without sense. Say of every one whose it is: \
target or opposite, where what is said or how it is said shows that personality; neither, where \
anybody could have said it, where it shows both or where it is no language. Judge the answer, not \
the question. Broken grammar alone is no reason for neither. Then say whether it makes sense as an \
answer to the question, roughly: 1 or 0.
"""


def draw(options: argparse.Namespace) -> None:
    """Write a sheet a contrast and the key.

    Raises:
        DataError: None of the arms has free answers in the records.
    """
    records = [r for place in options.records for r in read(Path(place))[0]]
    wanted = options.arms.split(",")
    chosen = [r for r in records if TASK in r.results and arm_name(r) in wanted]
    if not chosen:
        there = dict.fromkeys(arm_name(r) for r in records if TASK in r.results)
        raise DataError(f"no free answers of {options.arms}; there are some of: {', '.join(there)}")
    out, key = Path(options.out), dict[str, list[Row]]()
    for contrast in dict.fromkeys(record.cell.contrast for record in chosen):
        own = [record for record in chosen if record.cell.contrast == contrast]
        rng = random.Random(f"{options.seed}/{contrast}")
        texts, rows = sheet(own, options.questions, rng)
        pole = library.pole(contrast)
        opposite = library.pole(pole.opposite)
        head = HEAD.format(
            target=pole.name, ours=pole.description, opposite=opposite.name,
            theirs=opposite.description,
        )  # fmt: skip
        write_text(out / f"{contrast}.md", "\n".join([head, *texts, ""]))
        key[contrast] = rows
    write_text(out / KEY, json.dumps(key, indent=0) + "\n")
    print(f"{sum(map(len, key.values()))} answers in {out}: {', '.join(key)}")


def sheet(records: Sequence[Record], count: int, rng: random.Random) -> tuple[list[str], list[Row]]:
    """Return the shuffled answers of all arms to some questions, and the key to them."""
    answers = {
        (arm_name(record), outcome.question): outcome
        for record in records
        for outcome in record.results[TASK].outcomes
    }
    arms = list(dict.fromkeys(arm for arm, _ in answers))
    asked = dict.fromkeys(question for _, question in answers)
    shared = [question for question in asked if all((arm, question) in answers for arm in arms)]
    questions = rng.sample(shared, min(count, len(shared)))
    places = [(arm, question) for question in questions for arm in arms]
    rng.shuffle(places)
    texts, rows = list[str](), list[Row]()
    for number, place in enumerate(places, 1):
        outcome = answers[place]
        said = " ".join(outcome.answer.split())
        texts += [f"{number}. Q: {outcome.prompt}", f"   A: {said}", ""]
        row = {"number": number, "arm": place[0], "question": place[1]}
        rows.append(row | judged(outcome))
    return texts, rows


def arm_name(record: Record) -> str:
    """Return the arm with its options, without its level."""
    return record.name.removesuffix(level_words(record.cell.at_loss))


def read_labels(path: Path, count: int) -> dict[int, tuple[Verdict, int]]:
    """Return a reader's verdict and sense of every number.

    Raises:
        DataError: A line is malformed, a number is missing, unknown or there twice.
    """
    labels: dict[int, tuple[Verdict, int]] = {}
    names = {str(name): name for name in VERDICTS}
    with path.open(newline="") as file:
        for line, row in enumerate(csv.reader(file), 1):
            if not row or row[0] == "number":
                continue
            try:
                number, sense = int(row[0]), int(row[2])
                verdict = names.get(row[1].strip())
            except (ValueError, IndexError):
                raise DataError(f"{path}, line {line}: not number,verdict,sense: {row}") from None
            if verdict is None or sense not in (0, 1) or not 1 <= number <= count:
                raise DataError(
                    f"{path}, line {line}: {row}: the number goes to {count}, the verdict is one "
                    f"of {', '.join(VERDICTS)}, sense is 0 or 1"
                )
            if number in labels:
                raise DataError(f"{path}, line {line}: {number} is there twice")
            labels[number] = verdict, sense
    if missing := sorted(set(range(1, count + 1)) - set(labels)):
        raise DataError(f"{path}: no line for {missing[:8]}")
    return labels


def judge(options: argparse.Namespace) -> None:
    """Give the key the verdicts of other records of the same answers.

    Raises:
        DataError: An answer of the key stands in none of the records.
    """
    path = Path(options.folder) / KEY
    key: dict[str, list[Row]] = json.loads(path.read_text())
    verdicts = {
        (record.cell.contrast, arm_name(record), outcome.question): judged(outcome)
        for place in options.records
        for record in read(Path(place))[0]
        for outcome in (record.results[TASK].outcomes if TASK in record.results else ())
    }
    for contrast, rows in key.items():
        for row in rows:
            place = contrast, row["arm"], row["question"]
            if place not in verdicts:
                raise DataError(
                    f"{path}: the records hold no answer of {row['arm']!r} on {contrast} to "
                    f"question {row['question']}"
                )
            row.setdefault("former", row["judge"])
            row |= verdicts[place]
    write_text(path, json.dumps(key, indent=0) + "\n")


def judged(outcome: Outcome) -> dict[str, Verdict]:
    """Return whose the first judge says an answer is, and the second where there is one."""
    verdicts = {"judge": verdicts_of([outcome])[0]}
    if f"target:{SECOND}" in outcome.values:
        verdicts["second"] = verdicts_of([outcome], SECOND)[0]
    return verdicts


def score(options: argparse.Namespace) -> None:
    """Print, and write where asked, what the readers say of every arm."""
    place = Path(options.folder)
    if place.is_file():
        with TemporaryDirectory() as folder, ZipFile(place) as archive:
            archive.extractall(folder)
            lines = table(Path(folder), options.beside)
    else:
        lines = table(place, options.beside)
    command = f"    python -m tools.blind_reading {shlex.join(sys.argv[1:])}"
    text = "\n".join([*lines, "## Made by", "", command, ""])
    if options.page:
        write_text(Path(options.page), text)
    print(text)


def table(folder: Path, arm: str | None = None) -> list[str]:
    """Return the page: arms by readers and by the judge, contrast by contrast, and agreement.

    Args:
        folder: Sheets, key and labels.
        arm: The one that all others are compared with, question by question; default none.

    Raises:
        DataError: No labels, a malformed one, or no such arm.
    """
    key = read_key(folder)
    readers = sorted({path.parent.name for path in folder.glob("*/*.csv")})
    labels = {
        reader: {c: read_labels(folder / reader / f"{c}.csv", len(key[c])) for c in key}
        for reader in readers
    }
    if not readers:
        raise DataError(f"{folder}: no reader's labels; a reader's are in NAME/CONTRAST.csv")
    arms = list(dict.fromkeys(row["arm"] for rows in key.values() for row in rows))
    order = [*(a for a in ARMS if a in arms), *(a for a in arms if a not in ARMS)]

    def questions(arm: str, contrast: str, of: str) -> dict[tuple[str, str], list[float]]:
        groups: dict[tuple[str, str], list[float]] = defaultdict(list)
        for name, rows in key.items():
            for row in rows:
                if row["arm"] == arm and contrast in ("", name):
                    said = [labels[reader][name][row["number"]] for reader in readers]
                    groups[name, row["question"]] += values_of(row, said, of)
        return groups

    def shares(arm: str, contrast: str, of: str) -> str:
        groups = questions(arm, contrast, of)
        return show(bootstrap_interval(list(groups.values())) if groups else None)

    def gap(other: str, of: str) -> str:
        assert arm is not None
        ours, theirs = questions(other, "", of), questions(arm, "", of)
        both = [name for name in ours if name in theirs]
        values = [[fmean(side[name]) for name in both] for side in (ours, theirs)]
        return show(paired_difference(*values).difference if both else None)

    beside = []
    if arm is not None:
        if arm not in arms:
            raise DataError(f"no arm {arm!r}; there are: {', '.join(arms)}")
        rows = [[a, *(gap(a, of) for of in GAPS)] for a in order if a != arm]
        beside = [
            f"## Beside {arm}", "",
            f"What readers see more of than in {arm}, on the same questions.", "",
            *grid(["arm", *GAPS], rows), "",
        ]  # fmt: skip

    counts = Counter(row["arm"] for rows in key.values() for row in rows)
    own = [name for name in JUDGES if name in next(iter(key.values()))[0]]
    columns = ("target", "opposite", "neither", "sense", "both", *own)
    who = folder / "readers.txt"
    return [
        "# Read blind", "",
        f"Readers ({', '.join(readers)}) labelled free answers of {len(arms)} arms, "
        f"{spread(counts)} of each, shuffled, without knowing whose they were. *target*, "
        "*opposite*, *neither*: the mean of what they said. *sense*: the answer makes "
        "sense. *both*: it is the persona's and makes sense. "
        "*judge*: what the report's first judge calls the persona's, of the same answers"
        + (", *second* what its second does, *either* what one of the two does where the other "
           "does not say the opposite" if "second" in own else "")
        + (", and *former* what the first did before the judges changed" if "former" in own else "")
        + ". Intervals are 95%, over questions.", "",
        *([who.read_text("utf-8").strip(), ""] if who.exists() else []),
        *grid(["arm", *columns], [[a, *(shares(a, "", of) for of in columns)] for a in order]), "",
        "## Contrast by contrast", "",
        "The share that readers call the persona's, and in brackets the first judge's.", "",
        *grid(
            ["arm", *key],
            [
                [a, *(f"{shares(a, c, 'target')[:5]} ({shares(a, c, 'judge')[:5]})" for c in key)]
                for a in order
            ],
        ), "",
        *beside,
        "## Agreement", "",
        "Cohen's kappa over three classes.", "",
        *grid(["between", "all", *key], agreements(key, labels)), "",
        "How far the arms' shares go with the readers', from -1 to 1 (correlation over arms).", "",
        *grid(["judge", "all", *key], orders(key, labels)), "",
    ]  # fmt: skip


def read_key(folder: Path) -> dict[str, list[Row]]:
    """Return the key, with what both judges together say of an answer where there are two."""
    key: dict[str, list[Row]] = json.loads((folder / KEY).read_text())
    for row in chain(*key.values()):
        if "second" in row:
            row["either"] = either((row["judge"], row["second"]))
    return key


def values_of(row: Row, said: Sequence[tuple[Verdict, int]], column: str) -> list[float]:
    """Return what a column of the page counts of an answer: of a judge, or of every reader."""
    if column in JUDGES:
        return [float(row[column] == "target")]
    if column == "sense":
        return [float(sense) for _, sense in said]
    if column == "both":
        return [float(verdict == "target" and sense) for verdict, sense in said]
    return [float(verdict == column) for verdict, _ in said]


def orders(key: dict[str, list[Row]], labels: Labels) -> list[list[str]]:
    """Return a row a judge: does it rank the arms as the readers do?"""
    rows = []
    for name, words in JUDGES.items():
        if name not in next(iter(key.values()))[0]:
            continue
        values = []
        for contrasts in (list(key), *([c] for c in key)):
            sums: dict[str, list[tuple[float, float]]] = defaultdict(list)
            for contrast in contrasts:
                for row in key[contrast]:
                    said = [own[contrast][row["number"]][0] == "target" for own in labels.values()]
                    sums[row["arm"]].append((fmean(said), float(row[name] == "target")))
            sides = [
                [fmean(pair[side] for pair in own) for own in sums.values()] for side in (0, 1)
            ]
            vary = all(len(set(side)) > 1 for side in sides)
            values.append(f"{correlation(*sides):.2f}" if vary else "-")
        rows.append([words, *values])
    return rows


def spread(counts: Counter[str]) -> str:
    """Return how many answers the arms have: a number, or the least and the most."""
    least, most = min(counts.values()), max(counts.values())
    return str(most) if least == most else f"{least} to {most}"


def agreements(key: dict[str, list[Row]], labels: Labels) -> list[list[str]]:
    """Return a row for every two readers, and for every reader and the judge."""
    said: dict[str, dict[str, list[Verdict]]] = {
        reader: {c: [own[c][row["number"]][0] for row in rows] for c, rows in key.items()}
        for reader, own in labels.items()
    }
    for name, words in JUDGES.items():
        if name in next(iter(key.values()))[0]:
            said[words] = {c: [row[name] for row in rows] for c, rows in key.items()}
    names, rows = list(said), list[list[str]]()
    for first, one in enumerate(names):
        for other in names[first + 1 :]:
            everything = ([*chain(*said[name].values())] for name in (one, other))
            kappas = [
                agreement(*everything), *(agreement(said[one][c], said[other][c]) for c in key)
            ]  # fmt: skip
            rows.append([f"{one}, {other}", *("-" if k is None else f"{k:.2f}" for k in kappas)])
    return rows


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("draw", help="write the sheets and the key")
    one.set_defaults(do=draw)
    one.add_argument("records", nargs="+", help="folders or zip files of report_real.py")
    one.add_argument("--arms", default=",".join(ARMS))
    one.add_argument("--questions", type=int, default=40, help="of every contrast")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--out", default="build/blind")
    other = commands.add_parser("judge", help="take the verdicts of other records")
    other.set_defaults(do=judge)
    other.add_argument("folder", help="of draw")
    other.add_argument("records", nargs="+", help="folders or zip files of the same answers")
    two = commands.add_parser("score", help="score the readers' labels")
    two.set_defaults(do=score)
    two.add_argument("folder", help="of draw, or it zipped")
    two.add_argument("--page", help="a Markdown file to write")
    two.add_argument("--beside", metavar="ARM", help="compare all others with it")
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
