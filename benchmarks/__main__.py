"""Run benchmarks and write ``results/AREA.json``, one file for every area.

python -m benchmarks [NAME ...] [--repeats 5] [--out benchmarks/results] [--list]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import (
    collecting,
    cost,
    encodings,
    light,
    memory,
    planning,
    reading,
    selecting,
    sequential,
    structured,
    switching,
)
from benchmarks.base import BENCHMARKS, Row, head
from prosopon.errors import ProsoponError
from prosopon.files import write_json

AREAS = (
    collecting,
    cost,
    encodings,
    light,
    memory,
    planning,
    reading,
    selecting,
    sequential,
    structured,
    switching,
)
"""Importing a module registers its benchmarks."""


def main(arguments: list[str] | None = None) -> int:
    """Run, print and write; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="which ones; default all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--list", action="store_true", help="list them and stop")
    args = parser.parse_args(arguments)
    if args.list:
        for name, each in BENCHMARKS.items():
            print(f"{name:<22} {each.summary} ({each.area}.json)")
        return 0
    if args.repeats < 1:
        parser.error("--repeats must be at least 1")
    try:
        chosen = [(name, BENCHMARKS.get(name)) for name in args.names or BENCHMARKS.names()]
    except ProsoponError as error:
        parser.error(str(error))
    for name, each in chosen:
        before = head()
        rows = each.run(args.repeats)
        for row in rows:
            show(row)
        record(args.out / f"{each.area}.json", name, before, rows)
    return 0


def show(row: Row) -> None:
    """Print one row."""
    low, high = row["ratio_range"]
    goal = f", goal {row['goal']:g}" if "goal" in row else ""
    print(
        f"{row['name']} / {row['baseline']}: {row['ratio']:.3f} ({low:.3f} to {high:.3f}{goal})",
        flush=True,
    )


def record(path: Path, name: str, before: dict[str, Any], rows: list[Row]) -> None:
    """Put a benchmark's rows into its area's file, in place of its earlier ones.

    Every benchmark keeps the head it was run under, so that one can be run again alone.
    """
    area = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    area[name] = {**before, "results": rows}
    write_json(path, dict(sorted(area.items())))


if __name__ == "__main__":
    sys.exit(main())
