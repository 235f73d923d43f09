"""``prosopon reproduce``: a published protocol, with the controls that it lacks."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from prosopon.cli.console import print_json, progress, say
from prosopon.cli.loading import load
from prosopon.cli.options import (
    Device,
    DeviceMap,
    Dtype,
    Json,
    Output,
    Revision,
    Seeds,
    split_list,
    whole_numbers,
)
from prosopon.cli.summary import show_summary
from prosopon.errors import OptionError, UnknownNameError

PAPERS = ("paper",)


def reproduce(
    what: Annotated[str, typer.Argument(help="paper: Ye et al. 2026.")],
    run: Annotated[bool, typer.Option("--run", help="Run it; needs the model and --data.")] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of data sets: one file each, two answers a question."),
    ] = None,
    folder: Output = Path("reproduction"),
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Instead of the paper's first model.")
    ] = None,
    sparsity: Annotated[
        float | None, typer.Option("--sparsity", help="Instead of the paper's.")
    ] = None,
    arms: Annotated[
        str | None, typer.Option("--arms", help="Instead of all of them. Separated by commas.")
    ] = None,
    examples: Annotated[
        int | None, typer.Option("--examples", "-n", min=1, help="Instead of the paper's.")
    ] = None,
    questions: Annotated[
        int | None, typer.Option("--questions", min=1, help="Instead of the paper's.")
    ] = None,
    seeds: Seeds = "0",
    revision: Revision = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    device_map: DeviceMap = None,
    as_json: Json = False,
) -> None:
    """Print the protocol of a paper with our controls added; --run runs it."""
    from prosopon.experiments import Plan, Sizes, Source, assemble, settings_of, write_results
    from prosopon.experiments.figures import check_figures
    from prosopon.experiments.paper import PAPER, data_files, describe, options
    from prosopon.experiments.tables import check_tables

    if what not in PAPERS:
        raise UnknownNameError("protocol", what, PAPERS)
    if not run:
        if as_json:
            print_json(describe(PAPER))
        else:
            _describe()
        return
    if data is None:
        raise OptionError(
            "--run needs --data: a folder with one file for each set; the paper's own files come "
            "with its authors' repository"
        )
    files = data_files(data)
    chosen = tuple(split_list(arms, str)) if arms else (*PAPER.controls, *PAPER.arms)
    check_tables()
    check_figures()
    loaded = load(
        model or PAPER.models[0], device=device, dtype=dtype, device_map=device_map,
        revision=revision,
    )  # fmt: skip
    for file in files:
        sizes = Sizes(examples=examples or PAPER.calibration, questions=questions or PAPER.test)
        source = Source(target=str(file))
        contrasts = source.contrasts(loaded.name, sizes)
        (contrast,) = contrasts.values()
        room = len(contrast.calibration[0])
        if sizes.examples > room and examples is None:
            sizes = Sizes(examples=room, questions=sizes.questions)
        plan = Plan(
            tuple(contrasts), chosen, PAPER.tasks,
            tuple(split_list(seeds, whole_numbers("--seeds"))), sizes,
            options(chosen, PAPER.sparsity if sparsity is None else sparsity),
        )  # fmt: skip
        place = folder / file.stem
        with progress() as report:
            runner = assemble(loaded, source, plan, place, contrasts=contrasts, report=report)
            records = list(runner.run())
        command = shlex.join(["prosopon", *sys.argv[1:]])
        summary, _ = write_results(records, place, command=command, settings=settings_of(runner))
        if as_json:
            print_json({"set": file.stem, "folder": str(place), "cells": len(records)})
            continue
        say(f"{file.stem}, {room} calibration examples of a side", "bold")
        show_summary(summary, records)
        say(f"written: {place / 'report.html'}")


def _describe() -> None:
    from prosopon.experiments.paper import ADDED, PAPER

    lines = [
        PAPER.source,
        f"models: {', '.join(PAPER.models)}",
        *(f"data: {name}: {told}" for name, told in PAPER.sets.items()),
        f"calibration: about {PAPER.calibration} examples of a set; test: about {PAPER.test}",
        f"sparsity: {PAPER.sparsity:g} of every output row",
        f"arms: {', '.join(PAPER.arms)}",
        f"added controls and arms: {', '.join(PAPER.controls)}",
        *(f"added: {told}" for told in ADDED),
        "run it: prosopon reproduce paper --run --data FOLDER [--model ID_OR_FOLDER]",
    ]
    for line in lines:
        say(line)
