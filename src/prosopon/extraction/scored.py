"""Masks from scores: one pass over the sites, then selection, layer by layer where OWL asks."""

from __future__ import annotations

import hashlib
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
from prosopon.models import Site
from prosopon.selection import select
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
            generator=_generator(seed, site.name),
        )


@dataclass(frozen=True)
class Scored:
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
) -> Scored:
    """Score every site and select.

    Args:
        sites: The sites.
        criterion: A criterion that needs no gradients and no Gram matrices.
        options: Its options.
        evidence: The statistics that it needs.
        sparsity: Share of weights to prune; the most to prune under a cap.
        pattern: Selection pattern.
        seed: Seeds the site's generators.

    Raises:
        OptionError: A combination that has no meaning, or nothing to prune under a cap.
    """
    scores, ties, outliers = {}, {}, {}
    per_layer = bool(getattr(options, "owl", 0.0))
    for site in sites:
        inputs = evidence.of(site, sparsity, seed)
        scores[site.name] = criterion.score(inputs, options)
        if criterion.ties is not None:
            ties[site.name] = criterion.ties(inputs, options)
        if per_layer:
            outliers[site.name] = plain_wanda(inputs, inputs.activations())
    if per_layer:
        shares = _owl(sites, outliers, sparsity, pattern, options)
    else:
        shares = {sparsity: [site.name for site in sites]}
    keep: dict[str, Tensor] = {}
    for share, names in shares.items():
        second = {name: ties[name] for name in names} if ties else None
        kept = select({n: scores[n] for n in names}, share, pattern=pattern, ties=second)
        keep |= kept
    if criterion.cap:
        keep = _capped(criterion, keep, scores, pattern)
    return Scored({site.name: keep[site.name].cpu() for site in sites})


def solved_mask(
    sites: Sequence[Site],
    criterion: Criterion,
    options: Any,
    grams: GramSource,
    sparsity: float,
    pattern: str,
    report: Callable[[str, int, int], None] | None = None,
) -> Scored:
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
    found = Scored({})
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
    sites: Sequence[Site],
    outliers: Mapping[str, Tensor],
    sparsity: float,
    pattern: str,
    options: Any,
) -> dict[float, list[str]]:
    """Return which sites are pruned by which share."""
    if pattern not in ("row", "site"):
        raise OptionError(
            f"option owl sets the share of every layer: pattern 'row' or 'site', not {pattern!r}"
        )
    layers: dict[Layer, list[str]] = {}
    for site in sites:
        layers.setdefault(site.name if site.layer is None else site.layer, []).append(site.name)
    shares = {
        layer: outlier_share([outliers[name] for name in names], options.outlier)
        for layer, names in layers.items()
    }
    sizes = {
        layer: sum(outliers[name].numel() for name in names) for layer, names in layers.items()
    }
    grouped: dict[float, list[str]] = {}
    for layer, share in layer_sparsities(shares, sizes, sparsity, options.owl).items():
        grouped.setdefault(share, []).extend(layers[layer])
    return grouped


def _capped(
    criterion: Criterion,
    keep: Mapping[str, Tensor],
    scores: Mapping[str, Tensor],
    pattern: str,
) -> dict[str, Tensor]:
    """Take back what was pruned only because the share asked for more than there is."""
    if pattern not in ("row", "site", "global"):
        raise OptionError(
            f"criterion {criterion.name!r} prunes fewer weights where fewer qualify: pattern "
            f"'row', 'site' or 'global', not {pattern!r}, which prunes a fixed number"
        )
    spared = {name: mask | (scores[name] == torch.inf) for name, mask in keep.items()}
    if all(bool(mask.all()) for mask in spared.values()):
        raise OptionError(
            f"criterion {criterion.name!r} finds no weight to prune with these options: what the "
            "opposite needs is needed by the target or by general text, too"
        )
    return spared


def _generator(seed: int, site: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{site}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
