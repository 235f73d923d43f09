"""Extraction from a model that is larger than memory: one layer, then one site, at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from prosopon.criteria import CRITERIA, LightCriterion, ScoredCriterion
from prosopon.data import Encoded, Persona, encode_all, rendering_date
from prosopon.errors import OptionError, StatisticsError
from prosopon.extraction.provenance import provenance
from prosopon.extraction.request import Request, resolve_request
from prosopon.extraction.scored import score_site, site_inputs
from prosopon.extraction.settings import ExtractionSettings
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

if TYPE_CHECKING:
    from torch import Tensor

NEEDS = frozenset({"target", "opposite", "generator"})
"""What a criterion may need to be computed layer by layer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequentialSettings(ExtractionSettings):
    """How a sequential extraction reads the model and the examples."""

    device: str = "cpu"  # where the layer at work lies; see :func:`prosopon.models.resolve_device`
    dtype: str = "auto"  # ``auto``, ``float32``, ``bfloat16`` or ``float16``
    # where finished layers are kept, so that a killed run goes on at its layer
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
    settings = settings or SequentialSettings()
    if report is not None:
        settings = dataclasses.replace(settings, report=report)
    check_sequential(criterion, pattern, sparsity)
    request = resolve_request(
        target, opposite, criterion=criterion, sparsity=sparsity, pattern=pattern,
        options=options, scope=settings.scope,
    )  # fmt: skip
    if getattr(request.options, "owl", 0.0):
        raise OptionError(
            "option owl compares layers with each other, so it cannot run layer by layer"
        )
    skeleton, tokenizer = open_skeleton(
        model, device=settings.device, dtype=settings.dtype, revision=settings.revision
    )
    everything = skeleton.sites(targets=settings.targets, ignore=settings.ignore)
    sites = restrict_sites(everything, layers=settings.layers, only=settings.only)
    statistics = _statistics(skeleton, tokenizer, sites, request, settings)
    masks, fingerprint = _masks(skeleton, sites, request, statistics, settings)
    for side in statistics.values():
        if side.fingerprint != fingerprint.weights:
            raise StatisticsError(
                f"the weights in {skeleton.checkpoint.folder} are not those that the statistics "
                "were collected from; delete the work folder"
            )
    commit = getattr(skeleton.model.config, "_commit_hash", None)
    settings = dataclasses.replace(settings, name=str(model), revision=commit or settings.revision)
    config = provenance(
        masks, request, settings, fingerprint, rendering_date=rendering_date(tokenizer)
    )
    return write_folder(output, Masks(masks, None), config)


class PackedMasks(Mapping[str, "Tensor"]):
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


def check_sequential(
    criterion: str, pattern: str | None = None, sparsity: float | str | None = None
) -> None:
    """Check that a criterion, a pattern and a sparsity can be computed layer by layer.

    Raises:
        OptionError: One of them needs the whole model; says why and what can be used.
        UnknownNameError: No such criterion or pattern.
    """
    chosen = CRITERIA.get(criterion)
    if not _reads_channels(chosen):
        usable = [name for name, item in CRITERIA.items() if _reads_channels(item)]
        why = "needs more than channel statistics of the two sides"
        if isinstance(chosen, LightCriterion):
            why = "takes gradients through all layers at once"
        raise OptionError(
            f"criterion {criterion!r} {why}, so it cannot run layer by layer. Choices with "
            f"--sequential: {', '.join(usable)}"
        )
    kind = pattern or chosen.pattern
    if find_pattern(kind).among != "site":
        usable = [name for name, item in PATTERNS.items() if item.among == "site"]
        raise OptionError(
            f"pattern {kind!r} lets weights of different sites compete, so it needs the scores of "
            f"the whole model. Choices with --sequential: {', '.join(usable)}"
        )
    if sparsity == "auto":
        raise OptionError(f"criterion {criterion!r} has no sparsity 'auto': give a number")


def _reads_channels(criterion: object) -> bool:
    return isinstance(criterion, ScoredCriterion) and criterion.needs <= NEEDS


def _statistics(
    skeleton: Skeleton,
    tokenizer: Any,
    sites: Sequence[Site],
    request: Request,
    settings: SequentialSettings,
) -> dict[str, Statistics]:
    """Collect what the criterion needs, in one way through the layers."""
    needs = cast(ScoredCriterion, request.criterion).needs
    sides = {"target": request.target, "opposite": request.opposite}
    personas = {side: persona for side, persona in sides.items() if side in needs and persona}
    if not personas:
        return {}
    length = settings.max_length or context_length(skeleton.model)
    encoded: dict[str, list[Encoded]] = {
        name: encode_all(persona.examples, tokenizer, scope=request.scope, max_length=length)
        for name, persona in personas.items()
    }
    return collect_sequential(
        skeleton,
        sites,
        encoded,
        scope=request.scope,
        sources={name: persona.content_hash() for name, persona in personas.items()},
        work_dir=settings.work_dir,
        report=lambda done, total: settings.say("reading layer by layer", done, total),
    )


def _masks(
    skeleton: Skeleton,
    sites: Sequence[Site],
    request: Request,
    statistics: Mapping[str, Statistics],
    settings: SequentialSettings,
) -> tuple[PackedMasks, Fingerprint]:
    """Mask one site at a time; return the masks and the fingerprint of what was read."""
    masks, samples = PackedMasks(), dict[str, Sample]()
    criterion = cast(ScoredCriterion, request.criterion)
    for number, site in enumerate(sites):
        with skeleton.loaded(site):
            check_finite([site])
            samples[site.name] = sample_signs(site.matrix())
            inputs = site_inputs(statistics, site, request.share, settings.seed)
            scored = score_site(site.name, inputs, criterion, request.options)
            mask = select([scored], request.share, pattern=request.pattern)
            masks.add(site.name, mask[site.name])
        settings.say("selecting", number + 1, len(sites))
    return masks, fingerprint_of(samples)
