"""The folder of a sweep: one file for what all cells share, and one for every finished cell.

sweep.json          model, fingerprint, how much was asked: another one is an error
cells/<key>.json    one finished or failed cell; written whole or not at all
results.parquet, results.csv, ...    made from the cells at the end
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prosopon.errors import SweepError
from prosopon.files import write_json
from prosopon.sweep.grid import Cell

FORMAT_VERSION = 1
HEADER = "sweep.json"
CELLS = "cells"


@dataclass(frozen=True)
class Record:
    """What became of a cell.

    Attributes:
        key: Its key.
        cell: The cell.
        status: ``done``; ``failed``: prosopon refused; ``not-run``: it has no meaning here.
        message: Why, unless it is done.
        opposite: What the persona was told apart from.
        pruned_share: Share of the sites' weights pruned; 0 without a mask.
        seconds: Seconds of extraction, without what all cells of a seed share.
        shared_seconds: Seconds of what all cells of a seed share (general text, its damage).
        chosen: What the extraction settled on: options and sparsity of the subnetwork.
        measures: See :class:`prosopon.evaluation.Measures`; empty unless done.
    """

    key: str
    cell: Cell
    status: Literal["done", "failed", "not-run"]
    message: str = ""
    opposite: str | None = None
    pruned_share: float = 0.0
    seconds: float = 0.0
    shared_seconds: float = 0.0
    chosen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    measures: Mapping[str, float | None] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the contents of the cell's file."""
        return {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}


class Store:
    """Reads and writes a sweep's folder.

    Args:
        folder: Made where it is missing.
        header: What all cells share; JSON. ``model`` and ``fingerprint`` are in it.

    Raises:
        SweepError: The folder holds another sweep, or is damaged; says what differs.
    """

    def __init__(self, folder: str | Path, header: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise SweepError(f"{folder}: is a file, not a folder; give another --out")
        wanted: dict[str, Any] = json.loads(
            json.dumps({"format_version": FORMAT_VERSION, **header})
        )
        path = self.folder / HEADER
        if path.exists():
            _check_same(_read(path), wanted, path)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise SweepError(f"{folder}: is not empty and holds no sweep; give another --out")
        else:
            write_json(path, wanted)
        self.header = wanted

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """Open a folder that a sweep wrote.

        Raises:
            SweepError: There is no sweep in it.
        """
        path = Path(folder) / HEADER
        if not path.is_file():
            raise SweepError(f"{folder}: holds no sweep ({HEADER} is missing)")
        header = _read(path)
        if header.get("format_version") != FORMAT_VERSION:
            raise SweepError(
                f"{path}: format version {header.get('format_version')!r}; this prosopon reads "
                f"{FORMAT_VERSION}"
            )
        header.pop("format_version")
        return cls(folder, header)

    def get(self, key: str) -> Record | None:
        """Return a cell's record, or None where it has not been run.

        Raises:
            SweepError: The file is damaged.
        """
        path = self._path(key)
        if not path.exists():
            return None
        record = _read(path)
        try:
            record.pop("format_version")
            found = Record(**{**record, "cell": Cell(**record["cell"])})
        except (KeyError, TypeError) as error:
            raise SweepError(f"{path}: not a cell ({error}); delete it to run it again") from None
        if found.key != key:
            raise SweepError(f"{path}: holds the cell {found.key!r}; delete it to run it again")
        return found

    def put(self, record: Record) -> None:
        """Write a cell's record."""
        write_json(self._path(record.key), record.to_json())

    def records(self) -> list[Record]:
        """Return every record of the folder, sorted by cell.

        Raises:
            SweepError: A file is damaged.
        """
        keys = sorted(path.stem for path in (self.folder / CELLS).glob("*.json"))
        return ordered(record for key in keys if (record := self.get(key)) is not None)

    def _path(self, key: str) -> Path:
        return self.folder / CELLS / f"{key}.json"


def ordered(records: Iterable[Record]) -> list[Record]:
    """Return records by persona, arm, options, sparsity, calibration size and seed."""

    def place(record: Record) -> tuple[Any, ...]:
        cell = record.cell
        told = json.dumps(cell.options, sort_keys=True)
        share = cell.sparsity if isinstance(cell.sparsity, float) else 2.0
        return cell.persona, cell.arm, told, share, str(cell.sparsity), cell.examples, cell.seed

    return sorted(records, key=place)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SweepError(f"{path}: cannot be read ({error}); delete it to run it again") from None
    if not isinstance(found, dict):
        raise SweepError(f"{path}: is not a JSON object; delete it to run it again")
    return found


def _check_same(found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    for name in dict.fromkeys((*wanted, *found)):
        if found.get(name) != wanted.get(name):
            raise SweepError(
                f"{path}: this folder's sweep has {name} {_short(found.get(name))}, not "
                f"{_short(wanted.get(name))}; give another --out"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."
