"""Extraction from a model that is larger than memory: one layer, then one site, at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from prosopon.criteria import CRITERIA, Criterion, SiteInputs
from prosopon.data import SCOPES, Encoded, Persona, Scope, encode_all
from prosopon.errors import OptionError, StatisticsError
from prosopon.extraction.provenance import Calibration, describe
from prosopon.extraction.seeding import site_generator
from prosopon.layerwise.collect import collect_sequential
from prosopon.layerwise.skeleton import Skeleton, open_skeleton
from prosopon.lm import context_length
from prosopon.models import (
    Fingerprint,
    Sample,
    Site,
    check_finite,
    fingerprint_of,
    restrict_sites,
    sample_signs,
)
from prosopon.progress import Report
from prosopon.selection import PATTERNS, find_pattern, select
from prosopon.statistics import Statistics
from prosopon.subnetwork import SubnetworkConfig, pack_rows, unpack_rows
from prosopon.subnetwork.encodings import Masks
from prosopon.subnetwork.storage import write_folder

NEEDS = frozenset({"target", "opposite", "generator"})
"""What a criterion may need to be computed layer by layer."""


@dataclasses.dataclass(frozen=True)
class SequentialSettings:
    """How a sequential extraction reads the model and the examples.

    Attributes:
        device: Where the layer at work lies; see :func:`prosopon.models.resolve_device`.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        revision: Hub revision.
        targets: Patterns of sites to use.
        ignore: Patterns of sites to leave out.
        layers: Layers to use; see :func:`prosopon.models.restrict_sites`.
        only: ``"attention"`` or ``"mlp"``; default both.
        scope: ``"response"`` or ``"all"``; default as for :class:`~prosopon.extraction.Extractor`.
        seed: Seeds whatever is drawn.
        max_length: Longest example in tokens; default the model's context.
        work_dir: Where finished layers are kept, so that a killed run goes on at its layer.
    """

    device: str = "cpu"
    dtype: str = "auto"
    revision: str | None = None
    targets: Sequence[str] | None = None
    ignore: Sequence[str] = ()
    layers: str | None = None
    only: str | None = None
    scope: Scope | None = None
    seed: int = 0
    max_length: int | None = None
    work_dir: Path | None = None


def extract_sequential(
    model: str | Path,
    target: Persona,
    opposite: Persona | None = None,
    *,
    output: Path,
    criterion: str,
    sparsity: float | None = None,
    pattern: str | None = None,
    options: Mapping[str, Any] | None = None,
    settings: SequentialSettings | None = None,
    report: Report | None = None,
) -> SubnetworkConfig:
    """Extract a subnetwork without ever holding the model, and write its folder.

    The masks and the provenance are those of a normal extraction. The statistics of a work
    folder serve every criterion, pattern and sparsity.

    Args:
        model: ``embedded``, a folder with safetensors files, or a Hub id.
        target: The persona to find.
        opposite: What it is told apart from; contrastive criteria need one.
        output: The folder to write.
        criterion: A criterion that reads channel statistics, or nothing.
        sparsity: Share of weights to prune, in (0, 1); default the criterion's own.
        pattern: ``row`` or ``site``; default the criterion's own.
        options: Options of the criterion.
        settings: See :class:`SequentialSettings`.
        report: Called with (stage, done, total) while work goes on.

    Returns:
        The provenance that was written.

    Raises:
        OptionError: A bad option, or a criterion or pattern that needs the whole model.
        UnknownNameError: No such criterion or pattern.
        ModelError: See :func:`prosopon.layerwise.open_skeleton`.
        StatisticsError: See :func:`prosopon.layerwise.collect_sequential`.
    """
    using = settings or SequentialSettings()
    plan = _Plan.of(criterion, opposite, sparsity, pattern, options or {}, using)
    skeleton, tokenizer = open_skeleton(
        model, device=using.device, dtype=using.dtype, revision=using.revision
    )
    everything = skeleton.sites(targets=using.targets, ignore=using.ignore)
    sites = restrict_sites(everything, layers=using.layers, only=using.only)
    needed: dict[str, Persona] = {}
    if "target" in plan.criterion.needs:
        needed["target"] = target
    if "opposite" in plan.criterion.needs and opposite is not None:
        needed["opposite"] = opposite
    statistics = _statistics(skeleton, tokenizer, sites, needed, plan, using, report)
    masks = PackedMasks()
    fingerprint = _masks(skeleton, sites, plan, statistics, using.seed, masks, report)
    for each in statistics.values():
        if each.fingerprint != fingerprint.weights:
            raise StatisticsError(
                f"the weights in {skeleton.checkpoint.folder} are not those that the statistics "
                "were collected from; delete the work folder"
            )
    calibration = Calibration(
        target=target,
        opposite=opposite if plan.criterion.contrastive else None,
        general_count=0,
        scope=plan.scope,
    )
    config = describe(
        masks, calibration, plan.criterion, dataclasses.asdict(plan.options), plan.pattern,
        plan.sparsity, using.seed, model=str(model), revision=_revision(skeleton, using),
        fingerprint=fingerprint,
    )  # fmt: skip
    return write_folder(output, Masks(masks, None), config)


class PackedMasks(Mapping[str, Tensor]):
    """Keep-masks, an eighth of a byte a weight; each one is unpacked when it is asked for."""

    def __init__(self) -> None:
        self._packed: dict[str, tuple[Tensor, int]] = {}

    def add(self, name: str, mask: Tensor) -> None:
        """Pack and keep a bool mask ``[out, in]``."""
        self._packed[name] = pack_rows(mask), mask.shape[1]

    def __getitem__(self, name: str) -> Tensor:
        return unpack_rows(*self._packed[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What was asked, checked."""

    criterion: Criterion
    options: Any
    sparsity: float
    pattern: str
    scope: Scope

    @classmethod
    def of(
        cls,
        name: str,
        opposite: Persona | None,
        sparsity: float | None,
        pattern: str | None,
        options: Mapping[str, Any],
        using: SequentialSettings,
    ) -> _Plan:
        criterion = CRITERIA.get(name)
        check_sequential(name, pattern)
        parsed = criterion.parse_options(options)
        if getattr(parsed, "owl", 0.0):
            raise OptionError(
                "option owl compares layers with each other, so it cannot run layer by layer"
            )
        kind = pattern or criterion.pattern
        share = find_pattern(kind).share(sparsity, criterion.sparsity)
        if criterion.check is not None:
            criterion.check(kind, share, parsed)
        if criterion.contrastive and opposite is None:
            raise OptionError(f"criterion {name!r} needs an opposite: give --opposite")
        if using.scope is not None and using.scope not in SCOPES:
            raise OptionError(f"unknown scope {using.scope!r}. Choices: {', '.join(SCOPES)}")
        reference = getattr(parsed, "variant", "") == "reference"
        scope: Scope = using.scope or ("all" if reference else "response")
        return cls(criterion, parsed, share, kind, scope)


def check_sequential(
    criterion: str, pattern: str | None = None, sparsity: float | str | None = None
) -> None:
    """Check that a criterion, a pattern and a sparsity can be computed layer by layer.

    Raises:
        OptionError: One of them needs the whole model; says why and what can be used.
        UnknownNameError: No such criterion or pattern.
    """
    chosen = CRITERIA.get(criterion)
    if extra := sorted(chosen.needs - NEEDS):
        usable = [name for name in CRITERIA.names() if CRITERIA.get(name).needs <= NEEDS]
        why = {
            "gradient": "takes gradients through all layers at once",
            "fisher": "takes gradients through all layers at once",
        }.get(extra[0], f"needs more than channel statistics ({extra[0]})")
        raise OptionError(
            f"criterion {criterion!r} {why}, so it cannot run layer by layer. Choices with "
            f"--sequential: {', '.join(usable)}"
        )
    kind = pattern or chosen.pattern
    if find_pattern(kind).among != "site":
        usable = [name for name, each in PATTERNS.items() if each.among == "site"]
        raise OptionError(
            f"pattern {kind!r} lets weights of different sites compete, so it needs the scores of "
            f"the whole model. Choices with --sequential: {', '.join(usable)}"
        )
    if sparsity == "auto":
        raise OptionError(f"criterion {criterion!r} has no sparsity 'auto': give a number")


def _statistics(
    skeleton: Skeleton,
    tokenizer: Any,
    sites: Sequence[Site],
    personas: Mapping[str, Persona],
    plan: _Plan,
    using: SequentialSettings,
    report: Report | None,
) -> dict[str, Statistics]:
    """Collect what the criterion needs, in one way through the layers."""
    if not personas:
        return {}
    length = using.max_length or context_length(skeleton.model)
    encoded: dict[str, list[Encoded]] = {
        name: encode_all(persona.examples, tokenizer, scope=plan.scope, max_length=length)
        for name, persona in personas.items()
    }

    def layers(done: int, total: int) -> None:
        if report is not None:
            report("reading layer by layer", done, total)

    return collect_sequential(
        skeleton,
        sites,
        encoded,
        scope=plan.scope,
        sources={name: persona.content_hash() for name, persona in personas.items()},
        work_dir=using.work_dir,
        report=layers,
    )


def _masks(
    skeleton: Skeleton,
    sites: Sequence[Site],
    plan: _Plan,
    statistics: Mapping[str, Statistics],
    seed: int,
    masks: PackedMasks,
    report: Report | None,
) -> Fingerprint:
    """Fill ``masks``, one site in memory at a time; return the fingerprint of what was read."""
    ours, theirs = statistics.get("target"), statistics.get("opposite")
    samples: dict[str, Sample] = {}
    for number, site in enumerate(sites):
        with skeleton.loaded(site):
            check_finite([site])
            samples[site.name] = sample_signs(site.matrix())
            inputs = SiteInputs(
                weight=site.matrix().float(),
                target=ours[site.name] if ours else None,
                opposite=theirs[site.name] if theirs else None,
                sparsity=plan.sparsity,
                generator=site_generator(seed, site.name),
            )
            masks.add(site.name, _mask(site.name, inputs, plan))
        if report is not None:
            report("selecting", number + 1, len(sites))
    return fingerprint_of(samples)


def _mask(name: str, inputs: SiteInputs, plan: _Plan) -> Tensor:
    score = plan.criterion.score(inputs, plan.options)
    ties = None
    if plan.criterion.ties is not None:
        ties = {name: plan.criterion.ties(inputs, plan.options)}
    return select({name: score}, plan.sparsity, pattern=plan.pattern, ties=ties)[name]


def _revision(skeleton: Skeleton, using: SequentialSettings) -> str | None:
    commit: str | None = getattr(skeleton.model.config, "_commit_hash", None)
    return commit or using.revision
