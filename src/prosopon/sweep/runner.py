"""Running the cells of a grid that have not been run yet."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from prosopon.errors import ProsoponError
from prosopon.extraction import Extractor
from prosopon.progress import Report
from prosopon.subnetwork import Subnetwork
from prosopon.sweep.grid import CONTROLS, Cell, Grid
from prosopon.sweep.store import Record, Store
from prosopon.sweep.subjects import Subject, Subjects
from prosopon.version import __version__

STAGE = "cells of the sweep"
MakeExtractor = Callable[[int], Extractor]


class SweepRunner:
    """Runs a grid into a folder. Stopped at any moment, it goes on where it was.

    Args:
        subjects: Whom it is about.
        grid: What to run.
        store: Where results go.
        extractor: Makes the extractor of a seed; called once a seed, if a mask is to be found.
        settings: Whatever else the masks depend on (sites, scope, general text, length); JSON.
        retry: Run cells again that failed before.
        report: Called with (stage, done, total).
    """

    def __init__(
        self,
        subjects: Subjects,
        grid: Grid,
        store: Store,
        extractor: MakeExtractor,
        *,
        settings: dict[str, Any] | None = None,
        retry: bool = False,
        report: Report | None = None,
    ) -> None:
        self.subjects, self.grid, self.store = subjects, grid, store
        self.settings, self.retry, self.report = settings or {}, retry, report
        self._make = extractor
        self._extractor: tuple[int, Extractor, float] | None = None
        self._subjects: dict[str, Subject] = {}

    def run(self, cells: list[Cell] | None = None) -> Iterator[Record]:
        """Yield the record of every cell: those of earlier runs as they are, the rest anew."""
        cells = list(self.grid.cells()) if cells is None else cells
        for number, cell in enumerate(cells):
            self._say(number, len(cells))
            yield self._record(cell)
        self._say(len(cells), len(cells))

    def key(self, cell: Cell) -> str:
        """Return the key of a cell: it, the model, the data, the settings and our version."""
        context = {
            "fingerprint": self.store.header.get("fingerprint"),
            "data": self._subject(cell.persona).content(),
            "settings": self.settings,
            "version": __version__,
        }
        return cell.key(context)

    def _record(self, cell: Cell) -> Record:
        key = self.key(cell)
        found = self.store.get(key)
        if found is not None and not (self.retry and found.status == "failed"):
            return found
        subject = self._subject(cell.persona)
        record = Record(key, cell, "done", opposite=subject.opposite.name)
        try:
            record = self._measured(record, subject)
        except ProsoponError as error:
            record = dataclasses.replace(
                record, status="failed", message=" ".join(str(error).split())
            )
        self.store.put(record)
        return record

    def _measured(self, record: Record, subject: Subject) -> Record:
        cell = record.cell
        if cell.arm in CONTROLS:
            return self._control(record, subject)
        subnetwork, seconds, shared = self._extract(cell, subject)
        measures = subject.meter.measure(cell.persona, subnetwork, seed=cell.seed)
        config = subnetwork.config
        return dataclasses.replace(
            record,
            pruned_share=subnetwork.pruned_share,
            seconds=round(seconds, 3),
            shared_seconds=round(shared, 3),
            chosen={
                "sparsity": config.sparsity,
                "pattern": config.pattern,
                "options": config.options,
            },
            measures=measures.to_json(),
        )

    def _control(self, record: Record, subject: Subject) -> Record:
        line = None
        if record.cell.arm == "prompt":
            line = subject.line
            if line is None:
                return dataclasses.replace(
                    record,
                    status="not-run",
                    message=f"{subject.name} has no system line; give one with --prompt",
                )
        cell = record.cell
        measures = subject.meter.measure(cell.persona, system=line, seed=cell.seed)
        return dataclasses.replace(record, measures=measures.to_json())

    def _extract(self, cell: Cell, subject: Subject) -> tuple[Subnetwork, float, float]:
        shared, prepared = self._shared(cell.seed)
        target, opposite = subject.calibration(cell.examples, cell.seed)
        # Its own statistics, so that a cell's seconds do not depend on which cells came before.
        extractor = shared.without_statistics()
        sparsity: Any = None if cell.sparsity == "default" else cell.sparsity
        began = time.perf_counter()
        subnetwork = extractor.extract(
            target, opposite, criterion=cell.arm, sparsity=sparsity, options=cell.options
        )
        return subnetwork, time.perf_counter() - began, prepared

    def _shared(self, seed: int) -> tuple[Extractor, float]:
        """Return the seed's extractor with what all its cells share, and how long that took."""
        if self._extractor is None or self._extractor[0] != seed:
            extractor = self._make(seed)
            began = time.perf_counter()
            extractor.prepare(self.grid.arms())
            self._extractor = seed, extractor, time.perf_counter() - began
        return self._extractor[1], self._extractor[2]

    def _subject(self, name: str) -> Subject:
        if name not in self._subjects:
            self._subjects[name] = self.subjects.get(name)
        return self._subjects[name]

    def _say(self, done: int, total: int) -> None:
        if self.report is not None:
            self.report(STAGE, done, total)
