"""What extract, serve and export of one model need here, and what to do where it is too much."""

from __future__ import annotations

from dataclasses import dataclass, replace

from prosopon.criteria import LightCriterion
from prosopon.doctor.blueprint import Blueprint
from prosopon.doctor.job import Forecast, MemoryPart, PlannedRun
from prosopon.doctor.machine import Machine
from prosopon.doctor.memory import LIBRARIES, cache_bytes, extraction_memory, mask_bytes
from prosopon.export.lora import APPROXIMATE

COMMANDS = ("extract", "serve", "export")
"""The commands that are planned."""

ROOM = 0.9
"""Share of a memory that is planned with."""


@dataclass(frozen=True)
class Fit:
    """Whether a plan fits.

    Attributes:
        where: The memory in question: ``memory``, or the name of a GPU.
        needed: Bytes.
        there: Bytes that are free; None: not known.
        advice: What to do where it does not fit.
    """

    where: str
    needed: int
    there: int | None
    advice: tuple[str, ...] = ()

    @property
    def is_enough(self) -> bool:
        """Whether it fits; True where nobody knows."""
        return self.there is None or self.needed <= ROOM * self.there


def plan_extraction(blueprint: Blueprint, job: PlannedRun, machine: Machine, gpu: bool) -> Forecast:
    """Return what an extraction needs."""
    from prosopon.doctor.speed import extraction_work

    free = machine.gpus[0].free if gpu and machine.gpus else machine.free
    title = f"{job.criterion.name}, {job.examples} examples a side, {job.dtype}"
    title += ", layer by layer" if job.sequential else ""
    notes = []
    if blueprint.quantised:
        notes.append(
            f"its weights are packed ({blueprint.quantised}): extract from the model as it was "
            "before"
        )
    files = [MemoryPart("the mask", mask_bytes(blueprint, job))]
    if blueprint.converts:
        files.append(MemoryPart("the converted copy, once, in the cache", blueprint.converts))
    return Forecast(
        "extract", title, tuple(extraction_memory(blueprint, job, free)), tuple(files),
        extraction_work(blueprint, job), tuple(notes),
    )  # fmt: skip


def plan_serving(blueprint: Blueprint, job: PlannedRun) -> Forecast:
    """Return what a server needs with one persona."""
    weights = blueprint.weights_bytes(job.dtype)
    sites = blueprint.site_weights * job.width
    rows = job.rows if job.width == 4 else 1  # rounding would decide too many draws in 16 bits
    a_token = cache_bytes(blueprint, job.width)
    originals = int(job.share * blueprint.site_weights * (job.width + 4))
    patches = min(sites, 1 << 30, 12 * int(job.share * blueprint.site_weights))
    logits = rows * blueprint.vocabulary * 12
    memory = (
        MemoryPart("Python and its libraries", LIBRARIES),
        MemoryPart("weights", weights, True),
        MemoryPart("a persona: the weights it takes", originals + patches, True),
        MemoryPart(
            f"keys and values, {rows} x {job.length} tokens", rows * job.length * a_token, True
        ),
        MemoryPart("logits", logits, True),
    )
    note = f"a token of a request takes {a_token:,} bytes of keys and values"
    return Forecast("serve", f"{rows} rows, {job.dtype}", memory, (), None, (note,))


def plan_export(blueprint: Blueprint, job: PlannedRun) -> Forecast:
    """Return what exporting a persona needs, and how large each format's files are."""
    weights = blueprint.weights_bytes(job.dtype)
    pruned = int(job.share * blueprint.site_weights)
    sides = sum((site.rows + site.columns) * site.count for site in blueprint.sites)
    largest = max(site.rows * site.columns for site in blueprint.sites)
    memory = (
        MemoryPart("Python and its libraries", LIBRARIES),
        MemoryPart("weights", weights, True),
        MemoryPart("masks, a byte a weight", blueprint.site_weights),
        MemoryPart("a matrix and its factors (lora)", 16 * largest, True),
    )
    files = [
        MemoryPart("checkpoint", weights),
        MemoryPart("gguf", weights),
        MemoryPart(f"lora, rank {APPROXIMATE}", sides * APPROXIMATE * job.width),
    ]
    if isinstance(job.criterion, LightCriterion):
        files.append(MemoryPart("shira", pruned * (job.width + 8)))
    return Forecast("export", f"{job.criterion.name}, {job.dtype}", memory, tuple(files))


def fit_plan(
    plan: Forecast, blueprint: Blueprint, job: PlannedRun, machine: Machine, gpu: bool
) -> list[Fit]:
    """Return whether a plan fits into the memory, and into the graphics card where one is used."""
    fits = []
    if gpu and machine.gpus:
        card = machine.gpus[0]
        fits.append(Fit(card.name, plan.peak(True), card.free))
        fits.append(Fit("memory", plan.peak(False), machine.free))
    else:
        fits.append(Fit("memory", plan.peak(), machine.free or machine.memory))
    advice = _advice(plan, job, machine, gpu, blueprint)
    return [fit if fit.is_enough else replace(fit, advice=advice) for fit in fits]


def _advice(
    plan: Forecast, job: PlannedRun, machine: Machine, gpu: bool, blueprint: Blueprint
) -> tuple[str, ...]:
    """Say what to do about a plan that does not fit, the least first."""
    lines: list[str] = []
    light = plan.command == "extract" and isinstance(job.criterion, LightCriterion)
    if light and (job.examples > 32 or blueprint.vocabulary * job.width > 1 << 17):
        lines.append("--fast reads 32 examples and 32 general texts: a smaller batch and anchor")
    if plan.command == "serve" and job.width == 4:
        lines.append("--rows 1, and --max-tokens lower: fewer keys and values at once")
    if job.width == 4:
        lines.append("--dtype bfloat16: half the weights")
    if plan.command == "extract" and not job.sequential:
        criterion = "" if not light else "--criterion contrastive-wanda "
        lines.append(f"{criterion}--sequential: one layer in memory at a time, from disk")
    if len(machine.gpus) > 1:
        lines.append(f"--device-map auto: spread over {len(machine.gpus)} graphics cards")
    if gpu and not job.sequential:
        lines.append("--device cpu: in main memory, slower")
    return tuple(lines)
