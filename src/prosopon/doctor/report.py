"""The whole examination as one JSON object, and what is missing for what was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prosopon.doctor import packages as installed
from prosopon.doctor.blueprint import Blueprint, by_kind, read_blueprint
from prosopon.doctor.job import Forecast, MemoryPart, PlannedRun, resolve_job
from prosopon.doctor.machine import Folder, Gpu, Machine, look_at_folder, look_at_machine
from prosopon.doctor.plan import (
    COMMANDS,
    fit_plan,
    plan_export,
    plan_extraction,
    plan_serving,
)
from prosopon.errors import UnknownNameError
from prosopon.files import cache_folder
from prosopon.hub import unreachable
from prosopon.version import __version__

if TYPE_CHECKING:
    from prosopon.doctor.speed import Rate


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be examined.

    Attributes:
        command: The command that is meant; None: the installation as a whole.
        model: The model to plan for; None: no plan.
        revision: Of a Hub model.
        device: As for the commands.
        dtype: As for the commands.
        device_map: As for the commands.
        job: Keywords of :func:`~prosopon.doctor.job.resolve_job`.
        online: Whether the Hub may be asked.
        quick: Whether torch stays unloaded: no devices, no times.
        default: Criterion of a run that names none.
    """

    command: str | None = None
    model: str | None = None
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    device_map: str | None = None
    job: Mapping[str, Any]
    online: bool = False
    quick: bool = False
    default: str = "contrastive-kl"


def examine(question: Question, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Examine machine, installation and model; nothing is loaded but torch, and no weight is read.

    Args:
        question: What is asked.
        say: Called with a line before something that takes a second.

    Returns:
        Everything, as JSON; ``missing`` lists what the command lacks.

    Raises:
        UnknownNameError: No such command, criterion or pattern.
        ModelError: The model cannot be read.
        OptionError: Options that have no meaning together.
    """
    if question.command is not None and question.command not in installed.NEEDS:
        raise UnknownNameError("command", question.command, installed.NEEDS)
    blueprint = job = None
    if question.model is not None:
        blueprint = read_blueprint(
            question.model, revision=question.revision, dtype=question.dtype,
            online=question.online,
        )  # fmt: skip
        job = resolve_job(blueprint, dtype=question.dtype, default=question.default, **question.job)
    machine, torch = look_at_machine(), None
    if not question.quick:
        say("loading torch")
        torch, cards = _look_at_torch()
        machine = replace(machine, gpus=machine.gpus or cards)
    folders = [
        look_at_folder("cache", cache_folder()),
        look_at_folder("the Hub's cache", _hub_cache()),
    ]
    commands = _commands(question, blueprint)
    core = installed.read_requirements().get("", [])
    report: dict[str, Any] = {
        "prosopon": __version__,
        "machine": asdict(machine),
        "torch": torch,
        "folders": [{**asdict(folder), "path": str(folder.path)} for folder in folders],
        "hub": {"asked": question.online, "problem": unreachable() if question.online else None},
        "packages": [{**asdict(package), "is_right": package.is_right} for package in core],
        "commands": commands,
        "model": None,
        "rate": None,
        "plans": [],
    }
    missing = _missing(question, commands, core, folders, torch, machine)
    if blueprint is not None and job is not None:
        _add_plans(report, question, blueprint, job, machine, missing, say)
    return report | {"missing": missing}


def _add_plans(
    report: dict[str, Any],
    question: Question,
    blueprint: Blueprint,
    job: PlannedRun,
    machine: Machine,
    missing: list[str],
    say: Callable[[str], None],
) -> None:
    """Put the model, its plans and the times into a report."""
    seen = (report["torch"] or {}).get("devices", ["cuda"] if question.quick else [])
    gpu = bool(machine.gpus) and "cuda" in seen and not question.device.startswith(("cpu", "mps"))
    report["model"] = _describe(blueprint, job)
    rate = None
    if not question.quick and report["torch"] and "version" in report["torch"]:
        from prosopon.doctor.speed import measure_rate

        say("measuring how fast this machine multiplies")
        rate = measure_rate(blueprint, job.dtype, question.device)
        report["rate"] = asdict(rate)
    wanted = [c for c in COMMANDS if question.command in (None, c)]
    plans = {
        "extract": lambda: plan_extraction(blueprint, job, machine, gpu),
        "serve": lambda: plan_serving(blueprint, job),
        "export": lambda: plan_export(blueprint, job),
    }
    for command in wanted:
        plan = plans[command]()
        described = _describe_plan(plan, blueprint, job, machine, gpu, rate)
        report["plans"].append(described)
        if question.command == command:
            missing += [
                f"{_gigabytes(fit['needed'])} of {fit['where']}, and "
                f"{_gigabytes(fit['there'])} are free"
                for fit in described["fits"]
                if not fit["is_enough"]
            ]


def _describe(blueprint: Blueprint, job: PlannedRun) -> dict[str, Any]:
    return {
        "name": blueprint.name,
        "place": blueprint.place,
        "family": blueprint.family,
        "parameters": blueprint.parameters,
        "weights_in_sites": blueprint.site_weights,
        "stored": blueprint.stored,
        "quantised": blueprint.quantised,
        "dtype": job.dtype,
        "loaded": blueprint.weights_bytes(job.dtype),
        "vocabulary": blueprint.vocabulary,
        "context": blueprint.context,
        "layers": blueprint.number("layers"),
        "sites": [
            dict(zip(("kind", "role", "count", "weights", "widest_input"), kind, strict=True))
            for kind in by_kind(blueprint.sites)
        ],
    }


def _describe_plan(
    plan: Forecast,
    blueprint: Blueprint,
    job: PlannedRun,
    machine: Machine,
    gpu: bool,
    rate: Rate | None,
) -> dict[str, Any]:
    seconds = None
    if rate is not None and plan.work is not None:
        from prosopon.doctor.speed import estimate_seconds

        seconds = estimate_seconds(blueprint, plan.work, rate)
    return {
        "command": plan.command,
        "title": plan.title,
        "memory": [_part(part) for part in plan.memory],
        "peak": plan.peak(),
        "fits": [
            asdict(fit) | {"is_enough": fit.is_enough}
            for fit in fit_plan(plan, blueprint, job, machine, gpu)
        ],
        "files": [_part(part) for part in plan.files],
        "seconds": seconds,
        "notes": list(plan.notes),
    }


def _part(part: MemoryPart) -> dict[str, Any]:
    return {"what": part.what, "bytes": part.nbytes, "on_device": part.on_device}


def _commands(question: Question, blueprint: Blueprint | None) -> dict[str, list[dict[str, Any]]]:
    """Return, for every command, its extras, whether they are needed now, what is wrong there."""
    extras = installed.read_requirements()
    wanted = {
        "gguf": blueprint is not None and blueprint.converts > 0,
        "accelerate": bool(question.job.get("sequential") or question.device_map),
    }
    return {
        command: [
            {
                "extra": need.extra,
                "when": need.when,
                "needed": not need.when or wanted.get(need.extra, False),
                "faults": installed.faults(extras[need.extra])
                if need.extra in extras
                else [f"this installation knows no extra {need.extra!r}: install it again"],
            }
            for need in needs
        ]
        for command, needs in installed.NEEDS.items()
    }


def _missing(
    question: Question,
    commands: Mapping[str, Sequence[Mapping[str, Any]]],
    core: Sequence[installed.Package],
    folders: Sequence[Folder],
    torch: Mapping[str, Any] | None,
    machine: Machine,
) -> list[str]:
    """Return what is missing for what was asked."""
    lines = installed.faults(core)
    about = installed.installed_as()
    if about is None:
        lines.append("prosopon is not installed as a package: pip install it, from a clone too")
    elif about[1] and not installed.python_fits(about[1]):
        lines.append(f"Python {machine.python} is not {about[1]}")
    if torch is not None and "problem" in torch:
        lines.append(f"torch cannot be loaded: {torch['problem']}")
    lines += [f"{f.path} cannot be written: {f.problem}" for f in folders if f.problem]
    for need in commands.get(question.command or "", ()):
        if need["needed"] and need["faults"]:
            lines.append(f"{'; '.join(need['faults'])}: pip install 'prosopon[{need['extra']}]'")
    if question.online and (why := unreachable()) is not None:
        lines.append(f"the Hugging Face Hub cannot be reached: {why}")
    return lines


def _look_at_torch() -> tuple[dict[str, Any], tuple[Gpu, ...]]:
    """Load torch; return its version and devices, and the cards that it sees."""
    try:
        import torch

        cards: tuple[Gpu, ...] = ()
        devices = ["cpu"]
        if torch.backends.mps.is_available():
            devices.append("mps")
        if torch.cuda.is_available():
            devices.append("cuda")
            cards = tuple(_card(number) for number in range(torch.cuda.device_count()))
        return {
            "version": torch.__version__, "devices": devices, "threads": torch.get_num_threads(),
        }, cards  # fmt: skip
    except Exception as error:  # a broken build says so in many ways
        return {"problem": " ".join(str(error).split()) or type(error).__name__}, ()


def _card(number: int) -> Gpu:
    import torch

    free, total = torch.cuda.mem_get_info(number)
    return Gpu(torch.cuda.get_device_name(number), int(total), int(free))


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def _gigabytes(number: int | None) -> str:
    return "?" if number is None else f"{number / 1e9:.2f} GB"
