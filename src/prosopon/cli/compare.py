"""``prosopon compare``: every arm on the same questions, from data to a report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prosopon.cli.console import print_json, progress, say
from prosopon.cli.judging import JudgeCache, JudgeModel, JudgeReplay, JudgeUrl, llm_judge
from prosopon.cli.loading import load
from prosopon.cli.options import (
    LIST,
    ArmOption,
    Device,
    DeviceMap,
    Dtype,
    General,
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
    split_list,
    split_personas,
    whole_numbers,
)
from prosopon.cli.summary import show_summary
from prosopon.files import finite

if TYPE_CHECKING:
    from prosopon.analysis import AnalysisPart
    from prosopon.experiments import CompareRunner, Record, Section, Summary
    from prosopon.progress import Report


def compare(
    folder: Output,
    personas: Personas = None,
    target: Instead = None,
    opposite: Opposite = None,
    prompt: PromptLine = None,
    description: Annotated[
        str, typer.Option("--description", help="One line on the target, for prompts and judges.")
    ] = "",
    model: Model = "embedded",
    arms: Annotated[str, typer.Option("--arms", "-a", help=f"{LIST} Or all.")] = "all",
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", "--task", help=f"See evaluate --task list. {LIST}"),
    ] = None,
    seeds: Seeds = "0",
    examples: Annotated[
        int, typer.Option("--examples", "-n", min=1, help="Calibration examples of each side.")
    ] = 64,
    questions: Annotated[int, typer.Option("--questions", min=1, help="Of every task.")] = 60,
    max_new_tokens: MaxNewTokens = 32,
    option: ArmOption = None,
    general: General = None,
    judge_url: JudgeUrl = None,
    judge_model: JudgeModel = None,
    judge_cache: JudgeCache = None,
    judge_replay: JudgeReplay = False,
    explain: Annotated[
        str,
        typer.Option("--explain", help="Mask arm that the report explains; none leaves it out."),
    ] = "contrastive-taylor",
    retry: Retry = False,
    revision: Revision = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    device_map: DeviceMap = None,
    as_json: Json = False,
) -> None:
    """Compare arms with controls on one model; writes a table, figures and a report."""
    from prosopon.arms.options import parse_arm_options
    from prosopon.experiments import (
        DEFAULT_TASKS,
        Plan,
        Sizes,
        Source,
        assemble,
        settings_of,
        write_results,
    )
    from prosopon.experiments.figures import check_figures
    from prosopon.experiments.tables import check_tables

    sizes = Sizes(examples=examples, questions=questions, max_new_tokens=max_new_tokens)
    names = tuple(split_personas(personas)) if personas else ()
    source = Source(names, target, opposite, prompt, description, general)
    judges = llm_judge(
        judge_url, judge_model, judge_cache or folder / "verdicts.jsonl", judge_replay
    )
    contrasts = source.contrasts(model, sizes)  # a bad file is said before a model is loaded
    plan = Plan(
        contrasts=tuple(contrasts),
        arms=tuple(split_list(arms, str)),
        tasks=tuple(split_list(tasks, str)) if tasks else DEFAULT_TASKS,
        seeds=tuple(split_list(seeds, whole_numbers("--seeds"))),
        sizes=sizes,
        options=parse_arm_options(option or ()),
    )
    explained_arm = mask_arm(explain)  # a wrong name is said before hours of work
    check_tables()
    check_figures()
    loaded = load(model, device=device, dtype=dtype, device_map=device_map, revision=revision)
    with progress() as report:
        runner = assemble(
            loaded, source, plan, folder, contrasts=contrasts, extra_judges=judges, retry=retry,
            report=report,
        )  # fmt: skip
        records = list(runner.run())
        extra = explained(runner, explained_arm, report)
    command = shlex.join(["prosopon", *sys.argv[1:]])
    summary, written = write_results(
        records, folder, command=command, settings=settings_of(runner), extra=extra
    )
    if as_json:
        print_json(_record(folder, summary, records, written))
        return
    show_summary(summary, records)
    for path in written:
        if path.suffix != ".svg":
            say(f"written: {path}")


def mask_arm(name: str) -> str | None:
    """Return the arm that ``--explain`` names; None for ``none``.

    Raises:
        UnknownNameError: No such arm.
    """
    from prosopon.arms import ARMS

    return None if name.strip().lower() == "none" else ARMS.get(name).name


def explained(runner: CompareRunner, arm: str | None, report: Report) -> list[Section]:
    """Return the analysis of an arm's masks for the report; none where it was not compared.

    Overlap takes two masks; cross-talk the embedded model's axes.
    """
    from prosopon.analysis import Probe, analyse, bundled_axes
    from prosopon.experiments import Section

    if arm is None or arm not in runner.plan.arms:
        return []
    masks = runner.masks(arm)
    parts: list[AnalysisPart] = ["overlap"] if len(masks) > 1 else []
    parts += ["location"] if masks else []
    bundled = all(contrast.bundled for contrast in runner.contrasts.values())
    if masks and bundled:
        parts.append("cross-talk")
    if not parts:
        return []
    extractor = runner.extractor
    found = analyse(
        masks, parts=parts, report=report,
        probe=Probe(extractor.model, extractor.tokenizer, runner.general) if bundled else None,
        axes=bundled_axes(runner.plan.sizes.questions) if bundled else (),
    )  # fmt: skip
    found.write(runner.results.folder / "explain")
    return [
        Section(f"explain-{each.id}", f"{arm}: {each.title}", each.svg, each.text)
        for each in found.sections
        if each.svg
    ]


def _record(
    folder: Path, summary: Summary, records: Sequence[Record], written: Sequence[Path]
) -> dict[str, Any]:
    from prosopon.experiments.records import unfinished

    told = {
        "folder": str(folder),
        "cells": len(records),
        "done": sum(record.status == "done" for record in records),
        "not_measured": [
            {"arm": arm, "contrasts": who, "why": why} for arm, who, why in unfinished(records)
        ],
        "files": [str(path) for path in written],
        **summary.to_json(),
    }
    return dict(finite(told))
