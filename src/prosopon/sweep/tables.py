"""The tidy table of a sweep: one row a cell, in Parquet and CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prosopon.errors import OptionError
from prosopon.evaluation import MEASURES
from prosopon.files import atomic_path
from prosopon.sweep.store import Record

PARQUET, CSV = "results.parquet", "results.csv"


def rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return one flat row a record; a measure that was not taken is None."""
    return [_row(record) for record in records]


def write_tables(records: Sequence[Record], folder: str | Path) -> list[Path]:
    """Write ``results.parquet`` and ``results.csv``; sparsity and options are text in them.

    Raises:
        OptionError: pandas or pyarrow is missing.
    """
    frame = _frame(records)
    paths = [Path(folder) / PARQUET, Path(folder) / CSV]
    with atomic_path(paths[0]) as temporary:
        frame.to_parquet(temporary, index=False)
    with atomic_path(paths[1]) as temporary:
        frame.to_csv(temporary, index=False)
    return paths


def check_tables() -> None:
    """Raise :class:`OptionError` where the tables could not be written: before hours of work."""
    try:
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise OptionError(
            f"the table needs {error.name}: install prosopon[tables], or give --no-tables"
        ) from None


def _frame(records: Sequence[Record]) -> Any:
    check_tables()
    import pandas as pd

    frame = pd.DataFrame(rows(records))
    for name in ("pruned_share", "seconds", "shared_seconds", *MEASURES):
        # A column of nothing but None would have no type that a reader can rely on.
        frame[name] = frame[name].astype("float64")
    for name in ("persona", "opposite", "arm", "sparsity", "options", "chosen", "message"):
        frame[name] = frame[name].astype("string")
    return frame


def _row(record: Record) -> dict[str, Any]:
    cell = record.cell
    measures = {name: record.measures.get(name) for name in MEASURES}
    return {
        "persona": cell.persona,
        "opposite": record.opposite,
        "arm": cell.arm,
        "sparsity": "" if cell.sparsity is None else str(cell.sparsity),
        "examples": cell.examples,
        "seed": cell.seed,
        "options": json.dumps(dict(cell.options), sort_keys=True),
        "status": record.status,
        "message": record.message,
        "pruned_share": record.pruned_share if record.status == "done" else None,
        "seconds": record.seconds if record.status == "done" else None,
        "shared_seconds": record.shared_seconds if record.status == "done" else None,
        **measures,
        "chosen": json.dumps(dict(record.chosen), sort_keys=True),
        "key": record.key,
    }
