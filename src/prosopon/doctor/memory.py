"""Memory and disk of a job, from the shapes of a model: what the code allocates, added up.

Every term names the code that allocates it. Where that code has a constant, it is taken from
there. How far the sums are from what was measured: docs/design/planning.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from prosopon.criteria import LightCriterion, ScoredCriterion, SolvedCriterion
from prosopon.doctor.blueprint import Blueprint, Matrix
from prosopon.doctor.job import MemoryPart, PlannedRun
from prosopon.extraction.collector import COUNTS, SMALL
from prosopon.extraction.light import candidates
from prosopon.extraction.light.path import SHARE
from prosopon.gradients.anchor import EXACT
from prosopon.selection import find_pattern

LIBRARIES = 500 << 20
"""Python with torch, transformers and the rest, before a model is there: rounded up from a run."""

BACKWARD, FORWARD, LAYERWISE = 2048, 1024, 4096
"""Tokens of a batch: with gradients, for statistics, and layer by layer."""

LENGTH = 96
"""Tokens of a general text."""

LOGITS = 4096
"""Tokens whose logits are there at once when general text is read by the model itself."""

GRAMS = 2 << 30
"""Bytes of Gram matrices that are collected at once (gram_portions)."""

SAVED = 1.4
"""Numbers kept for the backward pass over the sites' inputs and outputs: from one model's run."""

CANDIDATE = 40
"""Bytes of a candidate: its place, weight, gain, damage, curvature, and sums of a round."""

_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "expert_count")

SUMS = 6 * 8
"""Bytes of an input channel's statistics."""


def extraction_memory(blueprint: Blueprint, job: PlannedRun, free: int | None) -> list[MemoryPart]:
    """Return what is in memory when an extraction needs most.

    Args:
        blueprint: The model.
        job: The extraction.
        free: Bytes of memory that are free where gradients are summed: more at once if there is
            more; None: not known.
    """
    if job.sequential:
        return _sequential(blueprint, job)
    weights = blueprint.weights_bytes(job.dtype)
    parts = [
        MemoryPart("Python and its libraries", LIBRARIES),
        MemoryPart("weights", weights, True),
    ]
    if isinstance(job.criterion, LightCriterion):
        return [*parts, *_light(blueprint, job, weights, free)]
    parts += [MemoryPart("masks, a byte a weight", blueprint.site_weights)]
    if isinstance(job.criterion, SolvedCriterion):
        return [*parts, *_solved(blueprint, job)]
    assert isinstance(job.criterion, ScoredCriterion)
    return [*parts, *_scored(blueprint, job)]


def general_texts(job: PlannedRun) -> int:
    """Return how many general texts the model writes for an extraction."""
    count = job.texts or COUNTS["answers" if job.chat else "start"]
    if isinstance(job.criterion, ScoredCriterion):
        return count if "general" in job.criterion.needs_with(job.options) else 0
    return count if isinstance(job.criterion, LightCriterion) else 0


def statistics_bytes(sites: Iterable[Matrix], sides: int) -> int:
    """Return the bytes of channel statistics; inputs that sites share count once for each."""
    return sides * sum(SUMS * site.columns * site.count for site in sites)


def mask_bytes(blueprint: Blueprint, job: PlannedRun) -> int:
    """Return the bytes of the mask's file: a bit a weight, or the gaps where they take half."""
    packed = sum(s.rows * s.count * -(-s.columns // 8) for s in blueprint.sites)
    pruned = job.share * blueprint.site_weights
    bits = gap_bits(job.share)
    gaps = pruned * bits / 8
    levels = pruned if isinstance(job.criterion, LightCriterion) else 0
    return int((gaps if 2 * gaps <= packed else packed) + levels)


def gap_bits(share: float) -> float:
    """Return the bits that the Rice code of a gap takes where every weight goes at random."""
    stay = 1 - share
    return min(k + 1 + stay ** (1 << k) / (1 - stay ** (1 << k)) for k in range(31))


def cache_bytes(blueprint: Blueprint, dtype_bytes: int) -> int:
    """Return the bytes of the keys and values of one token."""
    widths = blueprint.number("kv_heads") * blueprint.number("head_dim")
    return 2 * blueprint.number("layers") * widths * dtype_bytes


def prediction_bytes(tokens: int, vocabulary: int) -> int:
    """Return the bytes of the base's own predictions that an anchor holds."""
    exact = 4 * tokens * vocabulary
    return exact if exact <= EXACT else exact // 2


def activations(blueprint: Blueprint, tokens: int, width: int) -> int:
    """Return what a backward pass over ``tokens`` tokens keeps, the head left out."""
    numbers = sum((s.rows + s.columns) * active_count(blueprint, s) for s in blueprint.sites)
    return int(SAVED * tokens * numbers * width)


def active_count(blueprint: Blueprint, site: Matrix) -> float:
    """Return how many matrices of a site one token goes through."""
    config = blueprint.config
    used = config.get("num_experts_per_tok") or config.get("expert_used_count")
    there = next((config[key] for key in _EXPERTS if config.get(key)), None)
    if "experts" not in site.name or not used or not there:
        return site.count
    return float(site.count * used / there)


def _largest(blueprint: Blueprint) -> Matrix:
    return max(blueprint.sites, key=lambda site: site.rows * site.columns)


def _reading(blueprint: Blueprint, job: PlannedRun) -> int:
    """Return what it takes to write and read general text: the logits of many tokens."""
    tokens = min(LOGITS, general_texts(job) * LENGTH)
    return 2 * 4 * tokens * blueprint.vocabulary


def _scored(blueprint: Blueprint, job: PlannedRun) -> list[MemoryPart]:
    criterion = job.criterion
    assert isinstance(criterion, ScoredCriterion)
    needs = criterion.needs_with(job.options) - {"generator"}
    largest = _largest(blueprint)
    matrix = largest.rows * largest.columns
    # Scores, ties, the comparison's copies, and the weights where they are not float32 already.
    copies = 3 + (criterion.ties is not None) + (job.width < 4)
    scoring = copies * 4 * matrix
    batch = int(2 * FORWARD * max(s.rows + s.columns for s in blueprint.sites) * job.width)
    if find_pattern(job.pattern).among == "all":
        scoring += (1 + (criterion.ties is not None)) * 4 * blueprint.site_weights
    work = max(scoring, batch, _reading(blueprint, job))
    sums = statistics_bytes(blueprint.sites, len(needs))
    return [
        MemoryPart("statistics of the channels", sums),
        MemoryPart("a batch, or the scores", work, True),
    ]


def _solved(blueprint: Blueprint, job: PlannedRun) -> list[MemoryPart]:
    grams = [8 * site.columns**2 for site in blueprint.sites]
    widest = _largest(blueprint)
    columns = max(site.columns for site in blueprint.sites)
    solving = 8 * (4 * columns**2 + 3 * widest.rows * widest.columns)
    parts = [
        MemoryPart("Gram matrices", min(sum(grams), max(GRAMS, *grams))),
        MemoryPart("solving a matrix, in float64", solving, True),
    ]
    if getattr(job.options, "compensate", False):
        parts.append(MemoryPart("new values of kept weights", blueprint.site_weights * job.width))
    return parts


def _light(
    blueprint: Blueprint, job: PlannedRun, weights: int, free: int | None
) -> list[MemoryPart]:
    options, weight_count = job.options, blueprint.site_weights
    texts = general_texts(job)
    prompt, answer = job.tokens
    tokens = min(BACKWARD, job.examples * (prompt + 2 * answer))
    general = min(BACKWARD, texts * LENGTH)
    vocabulary = blueprint.vocabulary
    most = max(int(SHARE * weight_count), min(10 * int(job.share * weight_count), weight_count))
    backward = activations(blueprint, tokens, job.width)
    # Logits, their copy in float32 and two gradients; with an anchor at the answers' tokens only.
    counted = tokens if not options.kl_weight else tokens * 2 * answer // (prompt + 2 * answer)
    heads = counted * vocabulary * (12 + (job.width if job.width < 4 else 0))
    half = None if free is None else (free - weights) // 2
    summed = min(4 * weight_count, max(weights // 2, candidates.SMALL, half or 0))
    finding = summed + backward + heads
    # Probabilities, summed up in float64, beside the logits and their gradient.
    fisher = (
        4 * (weight_count if 4 * weight_count <= SMALL else most)
        + CANDIDATE * most
        + activations(blueprint, general, job.width)
        + general * vocabulary * 24
    )
    peak = max(finding, fisher, _reading(blueprint, job), weight_count)
    parts = [MemoryPart("gradients, candidates, a batch with its logits", peak, True)]
    if options.kl_weight:
        predictions = prediction_bytes(texts * LENGTH, vocabulary)
        parts.append(MemoryPart("the base's predictions on general text", predictions))
    return parts


def _sequential(blueprint: Blueprint, job: PlannedRun) -> list[MemoryPart]:
    layers: dict[str, int] = {}
    for tensor in blueprint.tensors:
        parts = tensor.name.split(".")
        number = next((i for i, part in enumerate(parts) if part.isdecimal()), None)
        if number is not None:
            key = ".".join(parts[: number + 1])
            layers[key] = layers.get(key, 0) + tensor.numbers
    layer = max(layers.values(), default=0) * job.width
    largest = _largest(blueprint)
    batch = 4 * LAYERWISE * (largest.rows + largest.columns) * job.width
    work = max(batch, 20 * largest.rows * largest.columns)
    criterion = job.criterion
    assert isinstance(criterion, ScoredCriterion)
    sums = statistics_bytes(blueprint.sites, len(criterion.needs - {"generator"}))
    return [
        MemoryPart("Python and its libraries", LIBRARIES),
        MemoryPart("a layer, twice", 2 * layer, True),
        MemoryPart("a batch, or the scores of a matrix", work, True),
        MemoryPart("masks, a bit a weight", blueprint.site_weights // 8),
        MemoryPart("statistics of the channels", sums),
    ]
