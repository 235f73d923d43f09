"""The tidy tables: one row a question and measure, and one row a cell.

Names of measures are values of a column, or stand behind their task's name, so that none can be
taken for a key.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from prosopon.errors import OptionError
from prosopon.experiments.records import Record
from prosopon.files import atomic_path, write_text

TEXTS = ("contrast", "opposite", "arm", "kind", "options", "task", "question", "measure")
NUMBERS = {"seed": "int64", "examples": "int64", "value": "float64"}
CELL_TEXTS = ("contrast", "opposite", "arm", "label", "kind", "options", "status", "message", "key")


def check_tables() -> None:
    """Raise :class:`OptionError` where the tables could not be written: before hours of work."""
    try:
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise OptionError(
            f"the tables need {error.name}: pip install 'prosopon[compare]'"
        ) from None


def write_tables(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write ``results.parquet`` and ``results.csv``, and ``cells.csv`` with a cell's means.

    Raises:
        OptionError: pandas or pyarrow is missing.
    """
    check_tables()
    import pandas as pd

    names = ("contrast", "opposite", "arm", "kind", "options", "examples", "seed",
             "task", "question", "measure", "value")  # fmt: skip
    tidy = pd.DataFrame(list(measure_rows(records)), columns=list(names))
    tidy = tidy.astype({**dict.fromkeys(TEXTS, "string"), **NUMBERS})
    cells = pd.DataFrame([cell_row(record) for record in records])
    cells = cells.astype(
        {
            name: "string" if name in CELL_TEXTS else NUMBERS.get(name, "float64")
            for name in cells.columns
        }
    )
    paths = [folder / name for name in ("results.parquet", "results.csv", "cells.csv")]
    with atomic_path(paths[0]) as temporary:
        tidy.to_parquet(temporary, index=False)
    for frame, path in ((tidy, paths[1]), (cells, paths[2])):
        with atomic_path(path) as temporary:
            frame.to_csv(temporary, index=False)
    return paths


def write_samples(records: Sequence[Record], folder: Path) -> Path:
    """Write ``samples.jsonl``: every question, what was answered, and its measures."""
    lines = [
        json.dumps(
            {
                "contrast": record.cell.contrast, "arm": record.name, "seed": record.cell.seed,
                "examples": record.cell.examples, "task": task, "question": outcome.question,
                "prompt": outcome.prompt, "answer": outcome.answer,
                "values": dict(outcome.values),
            },
            ensure_ascii=False,
        )
        for record in records
        for task, result in record.results.items()
        for outcome in result.outcomes
    ]  # fmt: skip
    write_text(folder / "samples.jsonl", "".join(f"{line}\n" for line in lines))
    return folder / "samples.jsonl"


def measure_rows(records: Sequence[Record]) -> Iterator[tuple[Any, ...]]:
    """Yield a row for every measure of every question; costs are measures of the task ``cost``."""
    for record in records:
        if record.status != "done":
            continue
        cell = record.cell
        options = json.dumps(dict(cell.options), sort_keys=True)
        head = (
            cell.contrast, record.opposite, cell.arm, record.kind, options, cell.examples,
            cell.seed,
        )  # fmt: skip
        for task, result in record.results.items():
            for outcome in result.outcomes:
                for measure, value in outcome.values.items():
                    yield (*head, task, outcome.question, measure, float(value))
        for measure, value in costs_of(record).items():
            yield (*head, "cost", "", measure, value)


def cell_row(record: Record) -> dict[str, Any]:
    """Return the row of a cell: its keys, then ``task/measure`` with the mean over questions."""
    cell = record.cell
    row: dict[str, Any] = {
        "contrast": cell.contrast, "opposite": record.opposite, "arm": cell.arm,
        "label": record.name, "kind": record.kind, "examples": cell.examples, "seed": cell.seed,
        "options": json.dumps(dict(cell.options), sort_keys=True), "status": record.status,
        "message": record.message, "key": record.key,
    }  # fmt: skip
    for task, result in record.results.items():
        values: dict[str, list[float]] = defaultdict(list)
        for outcome in result.outcomes:
            for measure, value in outcome.values.items():
                values[f"{task}/{measure}"].append(value)
        row |= {name: fmean(numbers) for name, numbers in values.items()}
    return row | {f"cost/{name}": value for name, value in costs_of(record).items()}


def costs_of(record: Record) -> dict[str, float]:
    """Return the numbers of what an arm cost; nothing where it was not run."""
    if record.status != "done":
        return {}
    details = record.cost["details"]
    shares = {name: details[name] for name in ("pruned_share", "shared_seconds") if name in details}
    costs = {"seconds": record.cost["seconds"], "bytes": record.cost["bytes"]}
    return {name: float(value) for name, value in {**costs, **shares, **record.speed}.items()}
