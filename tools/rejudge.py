"""Judges the free answers of a report anew, with the judges of today: nothing is written again.

Answers are dear and judging is cheap. Records keep every answer, so a report needs no new run when
its judges change. What the base model made of every answer is kept, too. Recital is counted anew as
well; with --only-recital nothing else is done, which takes no model.

python -m tools.rejudge docs/real/records.zip --out build/rejudged
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from tools.real_contrasts import CONTRASTS, contrasts
from tools.report_real import LONGEST

from prosopon.cli.console import progress
from prosopon.cli.loading import load
from prosopon.cli.options import ModelPlace
from prosopon.data import Message
from prosopon.data.contrast import Contrast
from prosopon.evaluation.tasks import Setting, TaskResult
from prosopon.evaluation.tasks.free_text import (
    FREE_TEXT,
    accuracies,
    judge_texts,
    kappas,
    recitals,
)
from prosopon.experiments import Plan, Sizes, assemble
from prosopon.experiments.open_text import OpenText
from prosopon.experiments.records import Record
from prosopon.experiments.store import Results
from prosopon.models import LoadedModel
from prosopon.progress import Report

NAMES = {of_target: name for name, (_, of_target) in CONTRASTS.items()}
RECITALS = ("recital", "unseen-recital")
VERDICTS = ("target", "opposite", "neither")


def recount(folder: Path, out: Path, contrast: Contrast) -> None:
    """Write the records of a contrast's folder to another one, recital counted anew."""
    old = Results.open(folder)
    new = Results(out, old.header)
    records = old.records()
    for record in records:
        new.put(with_recital(record, contrast, _most(records)))


def rejudge(
    folder: Path, out: Path, loaded: LoadedModel, contrast: Contrast, text: str | None,
    report: Report,
) -> None:  # fmt: skip
    """Write the records of a contrast's folder to another one, judged anew."""
    old = Results.open(folder)
    new = Results(out, old.header)
    records = old.records()
    left = [
        with_recital(record, contrast, _most(records))
        for record in records
        if new.get(record.key) is None
    ]
    if not left:
        return
    plan = Plan(
        (contrast.target,), ("base",), tuple(FREE_TEXT), controls=False,
        sizes=Sizes(max_new_tokens=LONGEST, speed=0),
    )  # fmt: skip
    runner = assemble(loaded, plan, {contrast.target: contrast}, general=text, report=report)
    open_text = runner.open_text(contrast.target)
    outcomes = [
        o for r in left for task in FREE_TEXT.keys() & r.results for o in r.results[task].outcomes
    ]
    if open_text.reader is not None:
        prompts = dict.fromkeys(outcome.prompt for outcome in outcomes)
        open_text.reader.expect([(Message("user", prompt),) for prompt in prompts])
        open_text.reader.recall(
            {
                (o.prompt, o.answer): (o.values["base-nats"], int(o.values["base-tokens"]))
                for o in outcomes
                if "base-tokens" in o.values
            }
        )
    for number, record in enumerate(left):
        report(f"judging {contrast.target}", number, len(left))
        tasks = {name: judged(result, open_text) if name in FREE_TEXT else result
                 for name, result in record.results.items()}  # fmt: skip
        new.put(dataclasses.replace(record, results=tasks))
    report(f"judging {contrast.target}", len(left), len(left))


def _most(records: Sequence[Record]) -> int:
    """Return how many examples arms learned from that learn, which the others are held against."""
    return max(record.cell.examples for record in records)


def with_recital(record: Record, contrast: Contrast, most: int) -> Record:
    """Return a record whose free answers are held against what arms learned, and what none did."""
    examples = record.cell.examples or most
    if not examples:
        return record
    setting = Setting(contrast, examples=examples, seed=record.cell.seed)
    results = dict(record.results)
    for task in FREE_TEXT.keys() & results.keys():
        outcomes = results[task].outcomes
        signs = recitals([outcome.answer for outcome in outcomes], setting)
        new = [
            dataclasses.replace(outcome, values=_others(outcome.values) | own)
            for outcome, own in zip(outcomes, signs, strict=True)
        ]
        results[task] = dataclasses.replace(results[task], outcomes=new)
    return dataclasses.replace(record, results=results)


def _others(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name not in RECITALS}


def judged(result: TaskResult, open_text: OpenText) -> TaskResult:
    """Return a result of free text with the verdicts of today's judges."""
    judges, outcomes = open_text.judges, result.outcomes
    verdicts = judge_texts(
        judges, [outcome.answer for outcome in outcomes], [outcome.prompt for outcome in outcomes]
    )
    new = [
        dataclasses.replace(
            outcome,
            values=own
            | {n: v for n, v in outcome.values.items() if n.partition(":")[0] not in VERDICTS},
        )
        for outcome, own in zip(outcomes, verdicts, strict=True)
    ]
    notes = dict(result.notes) | {"judges": accuracies(judges)}
    notes["judge-checks"] = open_text.notes.get("judge-checks", {})
    if len(judges) > 1:
        notes["kappa"] = kappas(new)
    return TaskResult(new, notes)


def main() -> None:
    """Read the command line and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", help="a folder or zip file of report_real.py")
    parser.add_argument("--out", required=True, help="folder for the records judged anew")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--questions", type=int, default=60, help="as the report had")
    parser.add_argument("--text", help="general text; default sampled")
    parser.add_argument("--only-recital", action="store_true", help="no judge: no model is loaded")
    options = parser.parse_args()
    loaded = None
    if not options.only_recital:
        loaded = load(options.model, ModelPlace(device=options.device))
    with TemporaryDirectory() as unpacked, progress() as report:
        place = Path(options.records)
        if place.is_file():
            with ZipFile(place) as archive:
                archive.extractall(unpacked)
            place = Path(unpacked)
        for header in sorted(place.glob("*/experiment.json")):
            folder, out = header.parent, Path(options.out) / header.parent.name
            target = next(r.cell.contrast for r in Results.open(folder).records())
            name = NAMES.get(target, target)
            (contrast,) = contrasts([name], Path(options.data), options.questions).values()
            if loaded is None:
                recount(folder, out, contrast)
            else:
                rejudge(folder, out, loaded, contrast, options.text, report)
    print(options.out)


if __name__ == "__main__":
    main()
