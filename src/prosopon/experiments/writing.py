"""What a comparison's folder holds beside its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prosopon.experiments.markdown import extent_of, markdown
from prosopon.experiments.records import Record
from prosopon.experiments.report import Section, report, sections
from prosopon.experiments.summary import Summary, summarise
from prosopon.experiments.tables import write_parquet
from prosopon.files import finite, write_json, write_text


def write_results(
    records: Sequence[Record],
    folder: Path,
    *,
    command: str,
    settings: Mapping[str, Any],
    extra: Sequence[Section] = (),
) -> tuple[Summary, list[Path]]:
    """Write ``results.parquet``, ``summary.json``, ``table.md``, figures and ``report.html``.

    Args:
        records: Records of all cells.
        folder: The comparison's folder.
        command: What makes the folder again.
        settings: See :func:`prosopon.experiments.report.report`.
        extra: Further figures for the report.

    Returns:
        The summary, and the files.

    Raises:
        OptionError: A library is missing.
    """
    summary = summarise(records)
    paths = [write_parquet(records, folder)]
    write_json(folder / "summary.json", finite(summary.to_json()))
    write_text(folder / "table.md", markdown(summary, records))
    paths += [folder / "summary.json", folder / "table.md"]
    figures = [*sections(summary, records), *extra]
    for figure in figures:
        paths.append(folder / "figures" / f"{figure.id}.svg")
        write_text(paths[-1], figure.svg)
    contrasts = list(dict.fromkeys(record.cell.contrast for record in records))
    page = report(
        summary, records, figures,
        title=f"Personas of the model {settings['model']}: every arm, one protocol",
        lead=f"{extent_of(summary)} Personas: {', '.join(contrasts)}. All arms saw the same "
        "calibration examples and were asked the same held-out questions; no system line except "
        "in the prompting arms.",
        command=command, settings=settings,
    )  # fmt: skip
    write_text(folder / "report.html", page)
    return summary, [*paths, folder / "report.html"]
