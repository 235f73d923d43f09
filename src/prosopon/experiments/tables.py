"""``results.parquet``: one row a contrast, arm, seed, task, question and measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prosopon.errors import OptionError
from prosopon.experiments.records import Record
from prosopon.files import atomic_path

PARQUET = "results.parquet"


def check_tables() -> None:
    """Raise :class:`OptionError` where the table could not be written: before hours of work."""
    try:
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise OptionError(f"the table needs {error.name}: install prosopon[compare]") from None


def write_parquet(records: Sequence[Record], folder: Path) -> Path:
    """Write the tidy table; costs are measures of the task ``cost``.

    Raises:
        OptionError: pandas or pyarrow is missing.
    """
    check_tables()
    import pandas as pd

    columns = ("contrast", "arm", "kind", "seed", "task", "question", "measure", "value")
    frame = pd.DataFrame(list(rows(records)), columns=list(columns))
    with atomic_path(folder / PARQUET) as temporary:
        frame.to_parquet(temporary, index=False)
    return folder / PARQUET


def rows(records: Sequence[Record]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of every done record."""
    for record in records:
        if record.status != "done":
            continue
        cell = record.cell
        head = cell.contrast, cell.arm, record.kind, cell.seed
        for task, result in record.results.items():
            for outcome in result.outcomes:
                for measure, value in outcome.values.items():
                    yield (*head, task, outcome.question, measure, float(value))
        costs = {"seconds": record.cost["seconds"], "bytes": record.cost["bytes"], **record.speed}
        for measure, value in costs.items():
            yield (*head, "cost", "", measure, float(value))
