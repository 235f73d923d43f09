"""``prosopon evaluate``: one persona, mask or arm over tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from prosopon.cli.console import out, print_json, progress, say
from prosopon.cli.judging import JudgeCache, JudgeModel, JudgeReplay, JudgeUrl, llm_judge
from prosopon.cli.loading import load
from prosopon.cli.options import (
    ArmOption,
    Device,
    DeviceMap,
    Dtype,
    General,
    Json,
    MaxNewTokens,
    Model,
    Opposite,
    PromptLine,
    Revision,
    Seed,
    split_list,
)
from prosopon.errors import OptionError
from prosopon.files import finite

if TYPE_CHECKING:
    from prosopon.data.contrast import Contrast
    from prosopon.evaluation.tasks import TaskResult
    from prosopon.intervals import Interval


def evaluate(
    persona: Annotated[
        str | None,
        typer.Argument(help="Folder of a subnetwork to wear, or a bundled persona's name."),
    ] = None,
    arm: Annotated[
        str | None, typer.Option("--arm", "-a", help="Instead of a folder: any arm, or base.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option("--task", "--tasks", help="Separated by commas. list lists them.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="Whose questions; default the persona's.")
    ] = None,
    opposite: Opposite = None,
    prompt: PromptLine = None,
    model: Model = "embedded",
    examples: Annotated[
        int, typer.Option("--examples", "-n", min=1, help="Calibration examples of --arm.")
    ] = 64,
    questions: Annotated[int, typer.Option("--questions", min=1, help="Of every task.")] = 100,
    max_new_tokens: MaxNewTokens = 48,
    option: ArmOption = None,
    general: General = None,
    judge_url: JudgeUrl = None,
    judge_model: JudgeModel = None,
    judge_cache: JudgeCache = None,
    judge_replay: JudgeReplay = False,
    seed: Seed = 0,
    revision: Revision = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    device_map: DeviceMap = None,
    as_json: Json = False,
) -> None:
    """Ask one persona, mask or arm; --task list says what can be asked."""
    from prosopon.arms import ARMS, Lab
    from prosopon.arms.options import parse_arm_options
    from prosopon.evaluation.held_out import general_text
    from prosopon.evaluation.speakers import ModelSpeaker
    from prosopon.evaluation.tasks import TASKS, Setting
    from prosopon.experiments import DEFAULT_TASKS, Sizes, Source, ask
    from prosopon.extraction import Extractor
    from prosopon.judges import judges_of
    from prosopon.runtime import worn

    if tasks == "list":
        _list(as_json)
        return
    names = [TASKS.get(name).name for name in split_list(tasks, str)] if tasks else DEFAULT_TASKS
    mask = _mask(persona, arm)
    extra = llm_judge(judge_url, judge_model, judge_cache, judge_replay)
    about = target or (mask.config.persona if mask else persona)
    if about is None:
        raise OptionError("say whom: a subnetwork's folder, a bundled persona, or --target")
    sizes = Sizes(examples, questions, max_new_tokens)
    plain = opposite is None and not about.startswith("character:")
    bundled = model == "embedded" and plain and not Path(about).exists()
    source = Source((about,), general=general) if bundled else Source(
        (), about, opposite, prompt, general=general
    )  # fmt: skip
    (contrast,) = source.contrasts(model, sizes).values()
    options = parse_arm_options(option or ())
    loaded = load(model, device=device, dtype=dtype, device_map=device_map, revision=revision)
    model_, tokenizer = loaded.model, loaded.tokenizer
    known, held_out, _ = general_text(loaded, general, sizes.general)
    judges = judges_of(contrast, extra(contrast) if extra else ())
    setting = Setting(
        contrast, judges, held_out, questions=questions, max_new_tokens=max_new_tokens, seed=seed
    )
    if mask is not None:
        with worn(model_, tokenizer, mask):
            results, refused = ask(ModelSpeaker(model_, tokenizer), setting, names)
        who = str(persona)
    else:
        who = ARMS.get(arm or "base").name
        with progress() as report:
            extractor = Extractor(
                model_, tokenizer, name=loaded.name, revision=loaded.revision, general=known,
                seed=seed, report=report,
            )  # fmt: skip
            lab = Lab(extractor, contrast, examples, seed, options.get(who, {}))
            why = ARMS.get(who).refuses(lab)
            if why is not None:
                raise OptionError(f"arm {who!r}: {why}")
            prepared = ARMS.get(who).prepare(lab)
        with prepared.speaking() as speaker:
            results, refused = ask(speaker, setting, names)
    _report(who, contrast, results, refused, as_json)


def _mask(persona: str | None, arm: str | None) -> Any:
    """Return the subnetwork in a folder; None where an arm or a bundled name is meant."""
    from prosopon.data import bundled
    from prosopon.subnetwork import Subnetwork

    if persona is None or (persona in bundled.names() and not Path(persona).exists()):
        return None
    if arm is not None:
        raise OptionError("give either a subnetwork's folder or --arm, and not both")
    return Subnetwork.from_pretrained(persona)


def _list(as_json: bool) -> None:
    from prosopon.evaluation.tasks import TASKS

    rows = [
        {"task": name, "summary": task.summary, "measures": dict(task.measures)}
        for name, task in TASKS.items()
    ]
    if as_json:
        print_json(rows)
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("task", "what is asked", "measures"):
        table.add_column(heading)
    for name, task in TASKS.items():
        table.add_row(name, task.summary, ", ".join(task.measures))
    out.print(table)


def figures(results: Mapping[str, TaskResult]) -> dict[str, dict[str, Interval]]:
    """Return every measure of every task with its bootstrap interval over questions.

    Nats and tokens say little one by one: their perplexity stands for them.
    """
    from prosopon.experiments.columns import exponential
    from prosopon.intervals import bootstrap_interval, ratio_interval

    found: dict[str, dict[str, Interval]] = {}
    for name, result in results.items():
        groups: dict[str, dict[str, list[float]]] = {}
        for outcome in result.outcomes:
            for measure, value in outcome.values.items():
                groups.setdefault(measure, {}).setdefault(outcome.question, []).append(value)
        nats, tokens = groups.pop("nats", None), groups.pop("tokens", None)
        found[name] = {
            measure: bootstrap_interval(list(values.values())) for measure, values in groups.items()
        }
        if nats and tokens:
            pairs = [(sum(nats[question]), sum(tokens[question])) for question in nats]
            found[name]["perplexity"] = exponential(ratio_interval(pairs))
    return found


def _report(
    who: str,
    contrast: Contrast,
    results: Mapping[str, TaskResult],
    refused: Mapping[str, str],
    as_json: bool,
) -> None:
    shown = figures(results)
    if as_json:
        told = {
            "arm": who,
            "persona": contrast.target,
            "opposite": contrast.opposite,
            "tasks": {
                name: {
                    "measures": {m: [i.mean, i.low, i.high] for m, i in each.items()},
                    "questions": len({o.question for o in results[name].outcomes}),
                    "notes": results[name].notes,
                }
                for name, each in shown.items()
            },
            "refused": dict(refused),
        }
        print_json(finite(told))
        return
    title = f"{who} on {contrast.target} against {contrast.opposite}, 95% over questions"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("task")
    table.add_column("measure")
    table.add_column("mean", justify="right")
    table.add_column("interval", justify="right")
    for name, each in shown.items():
        for measure, interval in each.items():
            table.add_row(name, measure, f"{interval.mean:.3f}", _ends(interval))
    out.print(table)
    _notes(results)
    for name, why in refused.items():
        say(f"{name}: not asked: {why}", "yellow")


def _ends(interval: Interval) -> str:
    if interval.low == float("-inf"):
        return ""
    return f"{interval.low:.3f} to {interval.high:.3f}"


def _notes(results: Mapping[str, TaskResult]) -> None:
    for name, result in results.items():
        for note, value in _short(result.notes):
            say(f"{name}: {note}: {value}")


def _short(notes: Mapping[str, object]) -> Sequence[tuple[str, object]]:
    return [(name, value) for name, value in notes.items() if len(str(value)) < 200]
