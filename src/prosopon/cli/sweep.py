"""``prosopon sweep``: criteria over sparsity, calibration size and seed, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from prosopon.cli.console import out, print_json, progress, say
from prosopon.cli.loading import load
from prosopon.cli.options import (
    LIST,
    Device,
    DeviceMap,
    Dtype,
    General,
    Ignore,
    Instead,
    Json,
    MaxNewTokens,
    Model,
    Opposite,
    Output,
    Personas,
    PromptLine,
    Retry,
    Revision,
    Seeds,
    Targets,
    split_list,
    split_personas,
    whole_numbers,
)
from prosopon.errors import OptionError, SweepError
from prosopon.files import write_text

if TYPE_CHECKING:
    from prosopon.sweep import Grid, Record, Summary


def sweep(
    folder: Output,
    criteria: Annotated[
        str, typer.Option("--criteria", "-c", help=f"See prosopon criteria. {LIST} Or all.")
    ] = "contrastive-taylor",
    personas: Personas = None,
    target: Instead = None,
    opposite: Opposite = None,
    prompt: PromptLine = None,
    model: Model = "embedded",
    sparsity: Annotated[
        str,
        typer.Option("--sparsity", "-s", help=f"Shares, auto, default (each its own). {LIST}"),
    ] = "default",
    examples: Annotated[
        str, typer.Option("--examples", "-n", help=f"Calibration examples of each side. {LIST}")
    ] = "64",
    seeds: Seeds = "0",
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="criterion.key=value. May be repeated."),
    ] = None,
    general: General = None,
    answers: Annotated[int, typer.Option("--answers", min=1, help="Free answers a cell.")] = 60,
    choices: Annotated[int, typer.Option("--choices", min=1, help="Pairs a cell.")] = 100,
    max_new_tokens: MaxNewTokens = 48,
    controls: Annotated[
        bool, typer.Option("--controls/--no-controls", help="base, prompt, random, magnitude.")
    ] = True,
    tables: Annotated[
        bool, typer.Option("--tables/--no-tables", help="Write results.parquet and results.csv.")
    ] = True,
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="Write SVG figures.")] = True,
    retry: Retry = False,
    targets: Targets = None,
    ignore: Ignore = None,
    revision: Revision = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    device_map: DeviceMap = None,
    as_json: Json = False,
) -> None:
    """Run criteria over sparsity, calibration size and seed; a stopped sweep goes on."""
    from prosopon.data import load_contrast
    from prosopon.evaluation import Effort
    from prosopon.sweep import Source, assemble, summarise
    from prosopon.sweep.assembly import Sites
    from prosopon.sweep.plots import check_plots
    from prosopon.sweep.tables import check_tables

    names = tuple(split_personas(personas)) if personas else ()
    source = Source(names, target, opposite, prompt, general)
    source.check(model)
    grid = make_grid(names or (str(target),), criteria, sparsity, examples, seeds, option, controls)
    if tables:
        check_tables()
    if plots:
        check_plots()
    if target:  # a bad file is said before a model is downloaded
        load_contrast(target, opposite)
    loaded = load(model, device=device, dtype=dtype, device_map=device_map, revision=revision)
    with progress() as report:
        runner = assemble(
            loaded,
            source,
            grid,
            folder,
            effort=Effort(choices=choices, answers=answers, max_new_tokens=max_new_tokens),
            sites=Sites(tuple(targets or ()), tuple(ignore or ())),
            retry=retry,
            report=report,
        )
        records = list(runner.run())
    summaries = summarise(records)
    written = write_results(runner.store.records(), folder, tables=tables, plots=plots)
    if as_json:
        print_json(as_record(folder, records, summaries, written))
        return
    _show(records, summaries)
    for path in written:
        say(f"written: {path}")


def make_grid(
    personas: tuple[str, ...],
    criteria: str,
    sparsity: str,
    examples: str,
    seeds: str,
    option: Sequence[str] | None,
    controls: bool,
) -> Grid:
    """Return the grid that the options describe.

    Raises:
        OptionError: A list is empty or holds what it must not.
        UnknownNameError: No such criterion.
    """
    from prosopon.criteria import CRITERIA
    from prosopon.registry import normalise
    from prosopon.sweep import Grid, parse_sparsity

    everything = criteria.strip().lower() == "all"
    chosen = CRITERIA.names() if everything else split_list(criteria, normalise)
    return Grid(
        personas=personas,
        criteria=tuple(chosen),
        sparsities=tuple(split_list(sparsity, parse_sparsity)),
        examples=tuple(split_list(examples, whole_numbers("--examples"))),
        seeds=tuple(split_list(seeds, whole_numbers("--seeds"))),
        options=criterion_options(option),
        controls=controls,
    )


def criterion_options(given: Sequence[str] | None) -> dict[str, dict[str, str]]:
    """Parse ``--option criterion.key=value``.

    Raises:
        OptionError: One that is not written so, or one given twice.
    """
    options: dict[str, dict[str, str]] = {}
    for item in given or ():
        name, sign, value = item.partition("=")
        criterion, dot, key = name.partition(".")
        if not (sign and dot and criterion and key):
            raise OptionError(f"--option {item!r}: write it as criterion.key=value")
        if key in options.setdefault(criterion, {}):
            raise OptionError(f"--option {name!r} is given twice")
        options[criterion][key] = value
    return options


def write_results(
    records: Sequence[Record], folder: Path, *, tables: bool, plots: bool
) -> list[Path]:
    """Write what a sweep's folder holds beside its cells: tables, figures, a page.

    Raises:
        OptionError: A library is missing.
    """
    from prosopon.sweep import markdown, summarise, write_tables
    from prosopon.sweep.plots import write_plots

    summaries = summarise(records)
    written = write_tables(records, folder) if tables else []
    if plots:
        written += write_plots(summaries, folder)
    write_text(folder / "results.md", markdown(summaries, records) + "\n")
    return [*written, folder / "results.md"]


def as_record(
    folder: Path, records: Sequence[Record], summaries: Sequence[Summary], written: Sequence[Path]
) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    return {
        "folder": str(folder),
        "cells": len(records),
        "done": sum(record.status == "done" for record in records),
        "failed": [
            {"persona": r.cell.persona, "arm": r.cell.arm, "status": r.status, "message": r.message}
            for r in records
            if r.status != "done"
        ],
        "files": [str(path) for path in written],
        "settings": [summary.to_json() for summary in summaries],
    }


def _show(records: Sequence[Record], summaries: Sequence[Summary]) -> None:
    done = [summary for summary in summaries if summary.done]
    if not done:
        raise SweepError(f"no cell has a result; the first says: {records[0].message}")
    people, seeds = max(s.personas for s in done), max(s.seeds for s in done)
    table = Table(
        title=f"Mean over {people} personas and {seeds} seeds, ± 95% over seeds",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("arm")
    table.add_column("n", justify="right")
    columns = ("choice_per_token", "target", "opposite", "neither", "perplexity_ratio")
    for heading in ("choice", "target", "opposite", "neither", "ppl ratio", "pruned", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for summary in done:
        found = summary.over_seeds
        cells = [_interval(found[name].mean, found[name].half_width) for name in columns]
        cells += [f"{found['pruned_share'].mean:.2%}", f"{found['seconds'].mean:.1f}"]
        table.add_row(summary.setting.label, str(summary.setting.examples or ""), *cells)
    out.print(table)
    for record in records:
        if record.status != "done":
            line = f"{record.status}: {record.cell.persona}, {record.cell.arm}: {record.message}"
            say(line, "yellow")


def _interval(mean: float, reach: float) -> str:
    return f"{mean:.3f}" if reach == float("inf") else f"{mean:.3f}±{reach:.3f}"
