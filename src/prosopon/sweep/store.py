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
from prosopon.experiments.cells import CellFolder, read_object
from prosopon.sweep.grid import Cell

FORMAT_VERSION = 1
HEADER = "sweep.json"


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


class Store:
    """Reads and writes a sweep's folder.

    Args:
        folder: Made where it is missing.
        header: What all cells share; JSON. ``model`` and ``fingerprint`` are in it.

    Raises:
        SweepError: The folder holds another sweep, or is damaged; says what differs.
    """

    def __init__(self, folder: str | Path, header: Mapping[str, Any]) -> None:
        self._cells = CellFolder(
            folder, header, kind="sweep", version=FORMAT_VERSION, error=SweepError
        )
        self.folder, self.header = self._cells.folder, self._cells.header

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """Open a folder that a sweep wrote.

        Raises:
            SweepError: There is no sweep in it.
        """
        path = Path(folder) / HEADER
        if not path.is_file():
            raise SweepError(f"{folder}: holds no sweep ({HEADER} is missing)")
        header = read_object(path, SweepError)
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
        record = self._cells.read(key)
        if record is None:
            return None
        try:
            return Record(**{**record, "cell": Cell(**record["cell"])})
        except (KeyError, TypeError) as error:
            raise self._cells.damaged(key, error) from None

    def put(self, record: Record) -> None:
        """Write a cell's record."""
        self._cells.write(record.key, dataclasses.asdict(record))

    def records(self) -> list[Record]:
        """Return every record of the folder, sorted by cell.

        Raises:
            SweepError: A file is damaged.
        """
        return ordered(r for key in self._cells.known() if (r := self.get(key)) is not None)


def ordered(records: Iterable[Record]) -> list[Record]:
    """Return records by persona, arm, options, sparsity, calibration size and seed."""

    def place(record: Record) -> tuple[Any, ...]:
        cell = record.cell
        told = json.dumps(cell.options, sort_keys=True)
        share = cell.sparsity if isinstance(cell.sparsity, float) else 2.0
        return cell.persona, cell.arm, told, share, str(cell.sparsity), cell.examples, cell.seed

    return sorted(records, key=place)
