"""How fast this machine multiplies, measured for a second, and how long a job takes by that."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from prosopon.criteria import LightCriterion, ScoredCriterion, SolvedCriterion
from prosopon.doctor.blueprint import Blueprint
from prosopon.doctor.job import Operations, PlannedRun
from prosopon.doctor.memory import LENGTH, active_count, general_texts
from prosopon.extraction.light.mask import DAMAGE
from prosopon.lm.general_text import ANSWERS, BATCH
from prosopon.models.loading import resolve_device

SECONDS = 0.4
"""Of each of the two measurements."""

MANY = 512
"""Tokens of a wide product."""

EFFICIENCY = 0.6
"""Share of the matmul rate that a pass through a model reaches: assumed."""

STEP = 0.001
"""Seconds of a layer's step that no product takes: assumed, after the embedded model."""

START = 8.0
"""Seconds that the interpreter, the libraries and the tokenizer take: one run, rounded."""

DISK = 400e6
"""Bytes a second at which weights are read, hashed or converted: assumed."""

ELEMENTS = 25e6
"""Weights a second that are scored, ranked and packed on one core: assumed."""

SPREAD = 1.7
"""The times given are from the estimate over this to the estimate times this."""


@dataclass(frozen=True)
class Rate:
    """Floating point operations a second: on many tokens, on a few, and in float64."""

    device: str
    dtype: str
    wide: float
    narrow: float
    exact: float


def measure_rate(blueprint: Blueprint, dtype: str, device: str, rows: int = 16) -> Rate:
    """Measure products of the model's own widest shape on the device.

    Raises:
        OptionError: There is no such device here.
    """
    place = resolve_device(device)
    largest = max(blueprint.sites, key=lambda site: site.rows * site.columns)
    shape = min(largest.rows, 8192), min(largest.columns, 8192)
    kind = getattr(torch, dtype)
    side = min(512, largest.columns)
    double = torch.float64 if place.type != "mps" else torch.float32
    return Rate(
        str(place), dtype,
        _product_rate(MANY, *shape, kind, place),
        _product_rate(rows, *shape, kind, place),
        _product_rate(side, side, side, double, place),
    )  # fmt: skip


def _product_rate(
    tokens: int, rows: int, columns: int, kind: torch.dtype, place: torch.device
) -> float:
    """Return operations a second of ``[tokens, columns] @ [columns, rows]``: the best of some.

    On processors their own time is taken, so that others' work on them does not count.
    """
    left = torch.ones(tokens, columns, dtype=kind, device=place)
    right = torch.ones(rows, columns, dtype=kind, device=place)
    on_cpu = place.type == "cpu"
    clock, threads = (
        (time.process_time, torch.get_num_threads()) if on_cpu else (time.perf_counter, 1)
    )
    best, end = 0.0, clock() + SECONDS * threads
    while not best or clock() < end:
        began = clock()
        float((left @ right.T)[0, 0])  # waits for the device
        seconds = max(clock() - began, 1e-7) / threads
        best = max(best, 2 * tokens * rows * columns / seconds)
    return best


def estimate_seconds(blueprint: Blueprint, work: Operations, rate: Rate) -> tuple[float, float]:
    """Return the least and the most seconds that a job should take."""
    per_token = 2 * _active(blueprint) + 2 * blueprint.vocabulary * blueprint.number("hidden")
    seconds = START + work.read / DISK
    seconds += work.wide / (EFFICIENCY * rate.wide) + work.exact / rate.exact
    seconds += work.elements / ELEMENTS
    for tokens, times in work.steps:
        product = tokens * per_token / (EFFICIENCY * rate.narrow)
        seconds += times * (product + STEP * blueprint.number("layers"))
    return seconds / SPREAD, seconds * SPREAD


def extraction_work(blueprint: Blueprint, job: PlannedRun) -> Operations:
    """Return what an extraction computes: its passes over texts, counted as the code makes them."""
    read = int(sum(tensor.nbytes for tensor in blueprint.tensors) + blueprint.converts)
    criterion, body = job.criterion, 2.0 * _active(blueprint)
    head = 2.0 * blueprint.vocabulary * blueprint.number("hidden")
    prompt, answer = job.tokens
    texts = general_texts(job)
    general = texts * LENGTH
    wide, steps = 0.0, list[tuple[int, int]]()
    if texts:
        wide += general * (body + head)  # is it language?
        steps += _writing(job, texts)
    if isinstance(criterion, LightCriterion):
        more, writing = _light_work(job, body, head, texts)
        return Operations(wide + more, [*steps, *writing], read, 0.0, 2.0 * blueprint.site_weights)
    elements = 2.0 * blueprint.site_weights
    if isinstance(criterion, SolvedCriterion):
        tokens = job.examples * (prompt + answer)
        inputs = sum(2.0 * site.columns**2 for site in blueprint.sites)
        exact = sum(s.columns**3 + 2.0 * s.rows * s.columns**2 for s in blueprint.sites)
        return Operations(tokens * (body + inputs), steps, read, exact, elements)
    assert isinstance(criterion, ScoredCriterion)
    needs = criterion.needs_with(job.options)
    sides = len(needs & {"target", "opposite"})
    wide += body * (sides * job.examples * (prompt + answer) + ("general" in needs) * general)
    return Operations(wide, steps, read * (2 if job.sequential else 1), 0.0, elements)


def _light_work(
    job: PlannedRun, body: float, head: float, texts: int
) -> tuple[float, list[tuple[int, int]]]:
    """Return the operations of a light mask's rounds, and the texts written besides."""
    options, (prompt, answer) = job.options, job.tokens
    shares = bool(options.kl_weight)  # a prompt that both answers share is read once
    copies = 2 if options.word_dropout and job.chat else 1
    pair = (prompt if shares else 2 * prompt) + 2 * answer
    counted = 2 * answer if shares else pair
    text = LENGTH + (prompt if job.chat else 0)
    both = body * text + head * LENGTH
    once = pair * body + counted * head
    pairs = job.examples * copies
    batch = min(options.batch_size or pairs, pairs)
    part = min(options.batch_size or texts, texts)
    first = min(options.candidate_pairs or pairs, pairs)
    wide = 3 * first * once + 3 * min(DAMAGE, texts) * both
    wide += pairs * once * (options.log_odds == "shift")
    wide += both * texts * (3 * bool(options.general_weight) + shares)
    a_round = 3 * batch * once + 3 * part * both * (bool(options.general_weight) + shares)
    writing: list[tuple[int, int]] = []
    if options.max_loss:
        a_round += 0.5 * part * both  # every other round a mask costs too much: read forward alone
        held_out = max(texts // 2, 8)
        wide += 4 * held_out * both
        writing = _writing(job, held_out)
    return wide + (options.rounds - 1) * a_round, writing


def _writing(job: PlannedRun, texts: int) -> list[tuple[int, int]]:
    """Return the steps in which the model writes general texts: (rows at once, times)."""
    rows = min(ANSWERS if job.chat else BATCH, texts)
    return [(rows, -(-texts // rows) * LENGTH)]


def _active(blueprint: Blueprint) -> float:
    """Return how many weights of the sites one token is multiplied with."""
    return sum(s.rows * s.columns * active_count(blueprint, s) for s in blueprint.sites)
