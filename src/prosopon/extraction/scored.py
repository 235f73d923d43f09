"""Masks from scores: one pass over the sites, then selection, layer by layer where OWL asks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch

from prosopon.criteria import (
    ScoredCriterion,
    SiteInputs,
    layer_sparsities,
    outlier_share,
    plain_wanda,
)
from prosopon.errors import OptionError, StatisticsError
from prosopon.extraction.collector import Collector
from prosopon.extraction.mask import ExtractedMask
from prosopon.extraction.request import Request
from prosopon.models import Site, find_groups
from prosopon.models.groups import Group
from prosopon.models.memory import trim
from prosopon.selection import Scored, check_units, find_pattern, select
from prosopon.statistics import SiteSums, Statistics

if TYPE_CHECKING:
    from torch import Tensor, nn

Evidence = Mapping[str, Statistics]
"""Statistics of all sites, by the side (target, opposite, general) that they were read from."""


def site_inputs(evidence: Evidence, site: Site, sparsity: float, seed: int) -> SiteInputs:
    """Return what a criterion may look at for one site."""
    target, opposite, general = (
        evidence[side][site.name] if side in evidence else None
        for side in ("target", "opposite", "general")
    )
    return SiteInputs(
        site.matrix().float(), target, opposite, general,
        sparsity=sparsity, generator=site_generator(seed, site.name),
    )  # fmt: skip


def site_generator(seed: int, site: str) -> torch.Generator:
    """Return a CPU generator seeded for one site alone, so that no order of sites matters."""
    digest = hashlib.sha256(f"{seed}/{site}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def score_site(site: str, inputs: SiteInputs, criterion: ScoredCriterion, options: Any) -> Scored:
    """Return one site's scores, and what orders equal ones."""
    ties = None if criterion.ties is None else criterion.ties(inputs, options)
    return Scored(site, criterion.score(inputs, options), ties)


def scored_mask(
    collector: Collector, request: Request, evidence: Evidence | None = None
) -> ExtractedMask:
    """Score every site and select; one site's scores at a time, since they are large.

    Args:
        collector: Reads the texts.
        request: What is asked, with a scored criterion.
        evidence: Statistics to use instead of those that the criterion needs.

    Raises:
        OptionError: A combination that has no meaning, or nothing to prune under a cap.
        SiteError: Channels or heads cannot be told apart in this model.
    """
    sites, options, sparsity = collector.sites, request.options, request.share
    criterion = cast(ScoredCriterion, request.criterion)
    rule = find_pattern(request.pattern)
    if criterion.cap and (rule.among == "units" or rule.fixed is not None):
        raise OptionError(
            f"criterion {criterion.name!r} prunes fewer weights where fewer qualify: pattern "
            f"'row', 'site', 'global' or lora:R, not {request.pattern!r}, which prunes a fixed "
            "number"
        )
    groups = find_units(request.pattern, sparsity, collector.model, sites)  # before reading
    evidence = evidence or _collect_evidence(collector, request, criterion)
    unread = unread_experts(sites, *evidence.values())
    sites = [site for site in sites if site.name not in unread]
    groups = [group for group in groups if not set(group.sites) & set(unread)]
    spared: dict[str, Tensor] = {}

    def score(site: Site) -> Scored:
        trim()  # what the last site's scores took; its mask, which lasts, lies in the middle of it
        inputs = site_inputs(evidence, site, sparsity, collector.settings.seed)
        scored = score_site(site.name, inputs, criterion, options)
        if criterion.cap:
            spared[site.name] = (scored.scores == torch.inf).cpu()
        return scored

    shares = {sparsity: list(sites)}
    if getattr(options, "owl", 0.0):
        shares = _owl(sites, evidence, request)
    keep: dict[str, Tensor] = {}
    for share, members in shares.items():
        masks = select(map(score, members), share, pattern=request.pattern, groups=groups)
        keep |= {name: mask.cpu() for name, mask in masks.items()}
    if criterion.cap:
        keep = _spare(criterion, keep, spared)
    keep |= {site.name: whole(site) for site in collector.sites if site.name in unread}
    return ExtractedMask({site.name: keep[site.name] for site in collector.sites}, unread=unread)


def whole(site: Site) -> Tensor:
    """Return the mask that keeps every weight of a site."""
    return torch.ones(site.shape, dtype=torch.bool)


def unread_experts(sites: Sequence[Site], *sums: SiteSums[Any]) -> tuple[str, ...]:
    """Return the experts that no token came to, on one side at least: nothing tells what they do.

    Raises:
        StatisticsError: That is all there are.
    """
    unread = tuple(site.name for site in sites if any(part[site.name].is_empty for part in sums))
    if len(unread) == len(sites):
        raise StatisticsError(
            f"no token of the examples came to any of the {len(sites)} experts: give more examples"
        )
    return unread


def find_units(
    pattern: str, sparsity: float, model: nn.Module, sites: Sequence[Site]
) -> list[Group]:
    """Return the groups that a pattern chooses among; none for patterns of single weights.

    Raises:
        UnknownNameError: No such pattern.
        OptionError: The sites' shapes do not suit the pattern, or a group would lose all units.
        SiteError: Channels or heads cannot be told apart in this model.
    """
    chosen = find_pattern(pattern)
    for site in sites:
        chosen.check_shape(site.name, site.shape)
    if chosen.among != "units":
        return []
    groups = find_groups(model, sites, chosen.name)
    check_units(chosen, sparsity, groups)
    return groups


def _collect_evidence(
    collector: Collector, request: Request, criterion: ScoredCriterion
) -> Evidence:
    """Return the statistics that the criterion needs."""
    needs, evidence = criterion.needs_with(request.options), dict[str, Statistics]()
    for side, persona in (("target", request.target), ("opposite", request.opposite)):
        if side in needs and persona is not None:
            evidence[side] = collector.statistics(persona, request.scope)
    if "general" in needs:
        evidence["general"] = collector.general_statistics()
    return evidence


def _owl(sites: Sequence[Site], evidence: Evidence, request: Request) -> dict[float, list[Site]]:
    """Return which sites are pruned by which share."""
    rule = find_pattern(request.pattern)
    if rule.among != "site" or rule.fixed is not None:
        raise OptionError(
            "option owl sets the share of every layer: pattern 'row', 'site' or lora:R, not "
            f"{request.pattern!r}"
        )
    layers: dict[int | str, list[Site]] = {}
    for site in sites:
        layers.setdefault(site.name if site.layer is None else site.layer, []).append(site)
    outliers, sizes = {}, {}
    for layer, members in layers.items():
        inputs = [site_inputs(evidence, site, request.share, 0) for site in members]
        scores = [plain_wanda(item, item.activations()) for item in inputs]
        outliers[layer] = outlier_share(scores, request.options.outlier)
        sizes[layer] = sum(score.numel() for score in scores)
    members_by_share: dict[float, list[Site]] = {}
    shares = layer_sparsities(outliers, sizes, request.share, request.options.owl)
    for layer, share in shares.items():
        members_by_share.setdefault(share, []).extend(layers[layer])
    return members_by_share


def _spare(
    criterion: ScoredCriterion, keep: Mapping[str, Tensor], spared: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Take back what was pruned only because the share asked for more than there is."""
    masks = {name: mask | spared[name] for name, mask in keep.items()}
    if all(bool(mask.all()) for mask in masks.values()):
        raise OptionError(
            f"criterion {criterion.name!r} finds no weight to prune with these options: what the "
            "opposite needs is needed by the target or by general text, too"
        )
    return masks
