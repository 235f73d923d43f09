"""What an experiment's folder holds beside its cells."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prosopon.experiments.figures import check_figures
from prosopon.experiments.markdown import extent_of, markdown
from prosopon.experiments.records import Record
from prosopon.experiments.report import ReportSection, report, sections
from prosopon.experiments.summary import Summary, summarise
from prosopon.experiments.tables import check_tables, write_samples, write_tables
from prosopon.files import finite, write_json, write_text


def check_writing(*, tables: bool = True, plots: bool = True) -> None:
    """Raise :class:`OptionError` where a library is missing: before hours of work."""
    if tables:
        check_tables()
    if plots:
        check_figures()


def write_results(
    records: Sequence[Record],
    folder: Path,
    *,
    command: str,
    settings: Mapping[str, Any],
    extra: Sequence[ReportSection] = (),
    tables: bool = True,
    plots: bool = True,
) -> tuple[Summary, list[Path]]:
    """Write tables, ``samples.jsonl``, ``summary.json``, ``table.md``, figures, ``report.html``.

    Args:
        records: Records of all cells.
        folder: The experiment's folder.
        command: What makes the folder again.
        settings: See :func:`prosopon.experiments.settings_of`.
        extra: Further figures for the report.
        tables: Write Parquet and CSV.
        plots: Draw figures, and write the report.

    Returns:
        The summary, and the files.

    Raises:
        OptionError: A library is missing.
    """
    summary = summarise(records)
    notes = settings.get("notes", ())
    paths = [*(write_tables(records, folder) if tables else ()), write_samples(records, folder)]
    write_json(folder / "summary.json", finite(summary.to_json()))
    write_text(folder / "table.md", markdown(summary, records, notes))
    paths += [folder / "summary.json", folder / "table.md"]
    if not plots:
        return summary, paths
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
        f"in the prompting arms. {' '.join(f'{note}.' for note in notes)}".rstrip(),
        command=command, settings=settings,
    )  # fmt: skip
    write_text(folder / "report.html", page)
    return summary, [*paths, folder / "report.html"]
