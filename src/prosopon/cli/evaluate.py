"""``prosopon evaluate``: one persona, mask or arm over tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from prosopon.cli.console import out, print_json, progress, say
from prosopon.cli.experiments import judges_with, plain_table
from prosopon.cli.judging import JudgeOptions
from prosopon.cli.loading import load
from prosopon.cli.masks import MaskSource, choose_model, find_mask, load_mask
from prosopon.cli.options import (
    MASK,
    ArmOption,
    General,
    Json,
    MaxNewTokens,
    ModelPlace,
    OpenQuestions,
    Opposite,
    OutputOrDefault,
    OwnModel,
    PromptLine,
    Seed,
    Temperature,
    split_list,
)
from prosopon.errors import ExperimentError, OptionError
from prosopon.files import finite

if TYPE_CHECKING:
    from prosopon.data.contrast import Contrast
    from prosopon.experiments import Record
    from prosopon.models import LoadedModel
    from prosopon.subnetwork import Subnetwork

JUDGES = ("judges", "judge-checks", "kappa", "questions")
"""Notes of free text that have lines of their own."""


def evaluate(
    persona: Annotated[
        str | None, Argument(help=f"{MASK} Or a bundled persona, for --arm.")
    ] = None,
    arm: Annotated[
        str | None, Option("--arm", "-a", help="Instead of a folder: any arm, or base.")
    ] = None,
    tasks: Annotated[
        str | None, Option("--task", "--tasks", help="Separated by commas. list lists them.")
    ] = None,
    target: Annotated[
        str | None, Option("--target", "-t", help="Whose questions; default the persona's.")
    ] = None,
    opposite: Opposite = None,
    prompt: PromptLine = None,
    model: OwnModel = None,
    examples: Annotated[
        int, Option("--examples", "-n", min=1, help="Calibration examples of --arm.")
    ] = 64,
    questions: Annotated[int, Option(min=1, help="Of every task.")] = 100,
    max_new_tokens: MaxNewTokens = 48,
    temperature: Temperature = 1.0,
    option: ArmOption = None,
    general: General = None,
    open_questions: OpenQuestions = None,
    base: Annotated[bool, Option("--base", help="Ask the base the same, and show both.")] = False,
    output: OutputOrDefault = None,
    seed: Seed = 0,
    as_json: Json = False,
    *,
    judge: JudgeOptions,
    place: ModelPlace,
) -> None:
    """Ask one persona, mask or arm; --task list says what can be asked.

    --output keeps every question and its answer in samples.jsonl, and a mask's figures in
    evaluation.json. In the mask's own folder its model card shows them.
    """
    from prosopon.arms.options import parse_arm_options
    from prosopon.arms.worn import WornArm
    from prosopon.experiments import DEFAULT_TASKS, Plan, Sizes, Source
    from prosopon.experiments.experiment import Experiment
    from prosopon.experiments.tables import write_samples

    if tasks == "list":
        _list(as_json)
        return
    mask_source = _find(persona, arm)
    mask = None if mask_source is None else load_mask(mask_source)
    model = choose_model(model, [mask_source] if mask_source else [])
    judges = judges_with(judge.maker())
    about = target or (_persona_of(mask) if mask else persona)
    if about is None:
        raise OptionError("say whom: a mask, a bundled persona, or --target")
    who = str(persona) if mask else (arm or "base")
    arms = tuple(dict.fromkeys(["base", who] if base else [who]))
    task_names = tuple(split_list(tasks, str)) if tasks else DEFAULT_TASKS
    plan = Plan(
        (about,), arms, task_names, (examples,), (seed,),
        Sizes(questions, max_new_tokens, speed=0, temperature=temperature),
        {name: (own,) for name, own in parse_arm_options(option or ()).items()}, controls=False,
        own={who: WornArm(who, mask)} if mask else {},
    )  # fmt: skip
    plain = opposite is None and not about.startswith(("character:", "library:"))
    bundled = model == "embedded" and plain and not Path(about).exists()
    source = Source((about,)) if bundled else Source((), about, opposite, prompt)
    (contrast,) = source.contrasts(model, questions).values()
    contrast, notes = _leave_out_seen(contrast, mask)
    loaded = load(model, place)
    plan = plan.on(contrast.target)
    with progress() as report:
        experiment = Experiment(
            plan, {contrast.target: contrast}, general=general, judges=judges,
            open_questions=open_questions,
        )  # fmt: skip
        findings = experiment.run(loaded, report)
    ordered = sorted(findings.records, key=lambda r: r.cell.arm != "base")  # it is shown first
    records = {"base" if r.cell.arm == "base" else who: r for r in ordered}
    if output is not None:
        notes.append(f"written: {write_samples(findings.records, output)}")
        if mask and all(record.status == "done" for record in findings.records):
            notes.append(f"written: {_keep(mask, who, contrast, records, loaded, output)}")
    _show(who, contrast, records, [*notes, *findings.notes], as_json)


def _persona_of(mask: Subnetwork) -> str:
    """Return the source of the persona that a mask wears: the library's if it was found on it."""
    from prosopon.data import library
    from prosopon.data.splits import prompt_hashes

    name, hashes = mask.config.persona, mask.config.calibration.prompt_hashes
    bundled = set(prompt_hashes(library.load(name))) if name in library.names() else set()
    return library.PREFIX + name if hashes and set(hashes) <= bundled else name


def _keep(
    mask: Subnetwork,
    who: str,
    contrast: Contrast,
    records: Mapping[str, Record],
    loaded: LoadedModel,
    folder: Path,
) -> Path:
    """Write the figures of a mask, and of the base beside it, and return the file."""
    from prosopon.experiments.columns import measures_of
    from prosopon.subnetwork import Evaluation, MeasureRecord, portable_name, write_evaluation

    def rows(record: Record) -> Iterator[MeasureRecord]:
        for task, result in record.results.items():
            for measure, interval in measures_of(result).items():
                ends = {"mean": interval.mean, "low": interval.low, "high": interval.high}
                if all(map(math.isfinite, ends.values())):
                    yield MeasureRecord(
                        task=task, measure=measure, questions=interval.count, **ends
                    )

    base = records.get("base")
    return write_evaluation(
        folder,
        Evaluation(
            checksum=mask.config.checksum,
            persona=contrast.target,
            opposite=contrast.opposite,
            base_model=portable_name(loaded.name),
            measures=tuple(rows(records[who])),
            base=tuple(rows(base)) if base else (),
        ),
    )


def _leave_out_seen(contrast: Contrast, mask: Subnetwork | None) -> tuple[Contrast, list[str]]:
    """Return a contrast without the questions that a mask was found on, and what to say of it."""
    if mask is None or contrast.bundled:  # the grammar holds its questions back
        return contrast, []
    hashes = mask.config.calibration.prompt_hashes
    if hashes is None:
        return contrast, [
            "the mask does not say which prompts it was found on: some of these questions may "
            "have been among them"
        ]
    before = len(contrast.items())
    contrast = contrast.without(hashes, judge=True)
    seen = before - len(contrast.items())
    left = (
        f"{seen} of {before} test questions were left out, and what the judge learns from "
        "likewise: the mask was found on them"
    )
    return contrast, [left] if seen else []


def _find(persona: str | None, arm: str | None) -> MaskSource | None:
    """Return where the mask is; None where an arm or a bundled name is meant."""
    from prosopon.data import bundled

    if persona is None or (persona in bundled.names() and not Path(persona).exists()):
        return None
    if arm is not None:
        raise OptionError("give either a mask or --arm, and not both")
    return find_mask(persona)


def _list(as_json: bool) -> None:
    from prosopon.evaluation.tasks import TASKS

    rows = [
        {"task": name, "summary": task.summary, "measures": dict(task.measures)}
        for name, task in TASKS.items()
    ]
    if as_json:
        print_json(rows)
        return
    table = plain_table(None, "task", "what is asked", "measures")
    for name, task in TASKS.items():
        table.add_row(name, task.summary, ", ".join(task.measures))
    out.print(table)


def _show(
    who: str,
    contrast: Contrast,
    records: Mapping[str, Record],
    notes: Sequence[str],
    as_json: bool,
) -> None:
    from prosopon.experiments.columns import measures_of
    from prosopon.experiments.judge_lines import describe_judges

    for arm, record in records.items():
        if record.status != "done":
            raise ExperimentError(f"{arm}: {record.message}")
    record = records[who]
    if as_json:
        whole = _as_json(who, contrast, record, notes)
        if "base" in records and who != "base":
            whole["base"] = _tasks_as_json(records["base"])
        print_json(finite(whole))
        return
    for arm, other in records.items():
        table = plain_table(f"{arm} on {contrast.target} against {contrast.opposite}, "
                            "95% over questions")  # fmt: skip
        table.add_column("task")
        table.add_column("measure")
        for heading in ("mean", "interval", "n"):
            table.add_column(heading, justify="right")
        for name, result in other.results.items():
            for measure, interval in measures_of(result).items():
                ends = f"{interval.low:.3f} to {interval.high:.3f}" if interval.count > 1 else ""
                table.add_row(name, measure, f"{interval.mean:.3f}", ends, str(interval.count))
        out.print(table)
    for name, result in record.results.items():
        for note, value in result.notes.items():
            if note not in JUDGES and len(str(value)) < 200:
                say(f"{name}: {note}: {value}")
    for line in describe_judges([record]):
        say(line)
    for name, why in record.refused.items():
        say(f"{name}: not asked: {why}", "yellow")
    for note in notes:
        say(note, "yellow")


def _as_json(who: str, contrast: Contrast, record: Record, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "arm": who,
        "persona": contrast.target,
        "opposite": contrast.opposite,
        "tasks": _tasks_as_json(record),
        "refused": dict(record.refused),
        "notes": list(notes),
    }


def _tasks_as_json(record: Record) -> dict[str, Any]:
    from prosopon.experiments.columns import measures_of

    return {
        name: {
            "measures": {m: [i.mean, i.low, i.high] for m, i in measures_of(result).items()},
            "questions": result.questions,
            "notes": result.notes,
        }
        for name, result in record.results.items()
    }
