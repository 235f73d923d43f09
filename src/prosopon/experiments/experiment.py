"""One experiment from its plan to its report: what every command asks for, in one call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prosopon.data.contrast import Contrast
from prosopon.errors import ExperimentError
from prosopon.experiments.assembly import (
    MakeJudges,
    Sites,
    assemble,
    settings_of,
    shortfalls,
    trained_judges,
)
from prosopon.experiments.explanation import explain_masks
from prosopon.experiments.judge_lines import describe_questions
from prosopon.experiments.plan import Plan
from prosopon.experiments.records import Record, unfinished
from prosopon.experiments.runner import Runner
from prosopon.experiments.store import check_folder
from prosopon.experiments.summary import Summary, summarise
from prosopon.experiments.writing import check_writing, write_results
from prosopon.files import finite
from prosopon.progress import Report

if TYPE_CHECKING:
    from prosopon.models import LoadedModel


@dataclass(frozen=True)
class ExperimentResult:
    """What an experiment found.

    Attributes:
        records: Of all cells.
        summary: Of them.
        files: What was written.
        notes: What fell short of the plan.
        runner: What ran it; its masks can be asked for.
    """

    records: Sequence[Record]
    summary: Summary
    files: Sequence[Path]
    notes: Sequence[str]
    runner: Runner

    def to_json(self) -> dict[str, Any]:
        """Return what a command prints as JSON."""
        value = {
            "cells": len(self.records),
            "done": sum(record.status == "done" for record in self.records),
            "not_measured": [
                {"arm": arm, "contrasts": who, "why": why}
                for arm, who, why in unfinished(self.records)
            ],
            "notes": list(self.notes),
            "files": [str(path) for path in self.files],
            **self.summary.to_json(),
        }
        return dict(finite(value))


@dataclass(frozen=True)
class Experiment:
    """What is to be run, and what is to be made of it.

    Attributes:
        plan: The plan.
        contrasts: Its contrasts by name.
        folder: Where everything goes; None keeps records in memory and writes nothing.
        command: What makes the folder again, for the report.
        general: General text; None samples it from the model.
        judges: Makes the judges of a contrast.
        sites: Which sites masks may prune.
        retry: Run cells again that failed before.
        explain: Mask arm that the report explains; None for none.
        tables: Write Parquet and CSV.
        plots: Draw figures and write the report.
        open_questions: An axis, a TOML file, none, or None; see
            :func:`prosopon.experiments.open_text.choose_bank`.
    """

    plan: Plan
    contrasts: Mapping[str, Contrast]
    folder: Path | None = None
    command: str = ""
    general: str | None = None
    judges: MakeJudges = trained_judges
    sites: Sites | None = None
    retry: bool = False
    explain: str | None = None
    tables: bool = True
    plots: bool = True
    open_questions: str | None = None

    def check(self) -> None:
        """Check what can be checked without a model.

        Raises:
            ExperimentError: The folder holds something else, or cannot be written.
            OptionError: A library is missing.
        """
        if self.folder is not None:
            check_folder(self.folder)
            check_writing(tables=self.tables, plots=self.plots)

    def run(self, loaded: "LoadedModel", report: Report | None = None) -> ExperimentResult:
        """Run what has not been run, and write tables, samples, figures and the report.

        Raises:
            ProsoponError: A source cannot be used, or the folder holds another experiment.
            ExperimentError: No arm has a result.
        """
        runner = assemble(
            loaded, self.plan, self.contrasts, self.folder, general=self.general,
            judges=self.judges, open_questions=self.open_questions, sites=self.sites,
            retry=self.retry, report=report,
        )  # fmt: skip
        records = list(runner.run())
        notes = [*shortfalls(self.plan, self.contrasts), *describe_questions(records)]
        if not any(record.status == "done" for record in records):
            raise ExperimentError(
                f"no arm has a result; the first says: {unfinished(records)[0][2]}"
            )
        if self.folder is None:
            return ExperimentResult(records, summarise(records), (), notes, runner)
        extra = explain_masks(runner, self.explain, self.folder / "explain", report)
        summary, files = write_results(
            records, self.folder, command=self.command, extra=extra,
            settings={**settings_of(runner), "notes": notes},
            tables=self.tables, plots=self.plots,
        )  # fmt: skip
        return ExperimentResult(records, summary, files, notes, runner)
