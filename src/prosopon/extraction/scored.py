"""Masks from scores: one pass over the sites, then selection, layer by layer where OWL asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prosopon.criteria import (
    Criterion,
    SiteInputs,
    layer_sparsities,
    outlier_share,
    plain_wanda,
)
from prosopon.errors import OptionError
from prosopon.extraction.seeding import site_generator
from prosopon.groups import Group
from prosopon.models import Site
from prosopon.models.memory import trim
from prosopon.selection import Scored, select_each
from prosopon.statistics import Grams, Statistics, gram_portions

GramSource = Callable[[Sequence[Site]], Grams]
Layer = int | str


@dataclass(frozen=True)
class Evidence:
    """What the criterion needs, of all sites; None for what it does not need."""

    target: Statistics | None = None
    opposite: Statistics | None = None
    general: Statistics | None = None

    def of(self, site: Site, sparsity: float, seed: int) -> SiteInputs:
        """Return what the criterion may look at for one site."""
        return SiteInputs(
            weight=site.matrix().float(),
            target=self.target[site.name] if self.target else None,
            opposite=self.opposite[site.name] if self.opposite else None,
            general=self.general[site.name] if self.general else None,
            sparsity=sparsity,
            generator=site_generator(seed, site.name),
        )


@dataclass(frozen=True)
class Masked:
    """Masks, and what makes up for the pruned weights where the criterion computes it.

    Attributes:
        keep: Keep-mask of every site, bool ``[out, in]``, on the CPU.
        values: Compensated weights of every site, ``[out, in]`` in the model's dtype, on the
            CPU; empty where the kept weights stay as they are.
    """

    keep: dict[str, Tensor]
    values: dict[str, Tensor] = field(default_factory=dict)


def scored_mask(
    sites: Sequence[Site],
    criterion: Criterion,
    options: Any,
    evidence: Evidence,
    sparsity: float,
    pattern: str,
    seed: int,
    groups: Sequence[Group] = (),
) -> Masked:
    """Score every site and select; one site's scores at a time, since they are large.

    Args:
        sites: The sites.
        criterion: A criterion that needs no gradients and no Gram matrices.
        options: Its options.
        evidence: The statistics that it needs.
        sparsity: Share of weights to prune; the most to prune under a cap.
        pattern: Selection pattern.
        seed: Seeds the site's generators.
        groups: Units of the patterns ``channels`` and ``heads``.

    Raises:
        OptionError: A combination that has no meaning, or nothing to prune under a cap.
    """
    spared: dict[str, Tensor] = {}

    def score(site: Site) -> Scored:
        trim()  # what the last site's scores took; its mask, which lasts, lies in the middle of it
        inputs = evidence.of(site, sparsity, seed)
        scores = criterion.score(inputs, options)
        if criterion.cap:
            spared[site.name] = (scores == torch.inf).cpu()
        ties = criterion.ties(inputs, options) if criterion.ties is not None else None
        return Scored(site.name, scores, ties)

    if criterion.cap:
        _check_cap(criterion, pattern)
    shares = {sparsity: list(sites)}
    if getattr(options, "owl", 0.0):
        shares = _owl(sites, evidence, sparsity, pattern, options)
    kept: dict[str, Tensor] = {}
    for share, members in shares.items():
        found = select_each(map(score, members), share, pattern=pattern, groups=groups)
        kept |= {name: mask.cpu() for name, mask in found.items()}
    if criterion.cap:
        kept = _capped(criterion, kept, spared)
    return Masked({site.name: kept[site.name] for site in sites})


def solved_mask(
    sites: Sequence[Site],
    criterion: Criterion,
    options: Any,
    grams: GramSource,
    sparsity: float,
    pattern: str,
    report: Callable[[str, int, int], None] | None = None,
) -> Masked:
    """Let the criterion choose every site's mask from its Gram matrix.

    Gram matrices are collected for as many sites at a time as fit in memory: one pass over the
    examples for each portion.

    Args:
        sites: The sites.
        criterion: A criterion with ``solve``.
        options: Its options.
        grams: Collects the Gram matrices of some sites.
        sparsity: Share of weights to prune.
        pattern: Selection pattern.
        report: Called with (stage, sites done, sites).
    """
    assert criterion.solve is not None
    found = Masked({})
    for portion in gram_portions(sites):
        collected = grams(portion)
        for site in portion:
            inputs = SiteInputs(
                weight=site.matrix().float(), gram=collected[site.name], sparsity=sparsity
            )
            solution = criterion.solve(inputs, pattern, options)
            found.keep[site.name] = solution.keep.cpu()
            if solution.values is not None:
                found.values[site.name] = solution.values.to("cpu", site.weight.dtype)
            if report is not None:
                report("pruning", len(found.keep), len(sites))
    return found


def _owl(
    sites: Sequence[Site], evidence: Evidence, sparsity: float, pattern: str, options: Any
) -> dict[float, list[Site]]:
    """Return which sites are pruned by which share."""
    if pattern not in ("row", "site"):
        raise OptionError(
            f"option owl sets the share of every layer: pattern 'row' or 'site', not {pattern!r}"
        )
    layers: dict[Layer, list[Site]] = {}
    for site in sites:
        layers.setdefault(site.name if site.layer is None else site.layer, []).append(site)
    shares, sizes = {}, {}
    for layer, members in layers.items():
        inputs = [evidence.of(site, sparsity, 0) for site in members]
        scores = [plain_wanda(each, each.activations()) for each in inputs]
        shares[layer] = outlier_share(scores, options.outlier)
        sizes[layer] = sum(each.numel() for each in scores)
    grouped: dict[float, list[Site]] = {}
    for layer, share in layer_sparsities(shares, sizes, sparsity, options.owl).items():
        grouped.setdefault(share, []).extend(layers[layer])
    return grouped


def _check_cap(criterion: Criterion, pattern: str) -> None:
    if pattern not in ("row", "site", "global"):
        raise OptionError(
            f"criterion {criterion.name!r} prunes fewer weights where fewer qualify: pattern "
            f"'row', 'site' or 'global', not {pattern!r}, which prunes a fixed number"
        )


def _capped(
    criterion: Criterion, kept: Mapping[str, Tensor], spared: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Take back what was pruned only because the share asked for more than there is."""
    masks = {name: mask | spared[name] for name, mask in kept.items()}
    if all(bool(mask.all()) for mask in masks.values()):
        raise OptionError(
            f"criterion {criterion.name!r} finds no weight to prune with these options: what the "
            "opposite needs is needed by the target or by general text, too"
        )
    return masks
