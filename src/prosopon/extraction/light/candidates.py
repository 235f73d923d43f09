"""Candidates: the few weights whose removal could pay, found once on the base model.

Everything later is kept for them alone, so that a light mask needs little more memory than the
model: a twentieth of the weights hold all that one in three hundred is chosen from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from prosopon.criteria import removal_gain
from prosopon.models import Site
from prosopon.statistics import check_gradient, stream_gradients

SMALL = 256 * 2**20  # bytes of gradients that may be held at once whatever the model's size


def find_candidates(
    sites: Sequence[Site], terms: Callable[[], Iterable[Tensor]], count: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the ``count`` weights with the highest first-order gain above zero.

    Gradients of half of the weights' bytes at most are held at once: the terms are run once for
    every group of sites that fits.

    Args:
        sites: The sites.
        terms: Makes the terms of the objective afresh.
        count: How many; fewer where fewer have a gain.

    Returns:
        Flat positions, int64 ascending, and their gains, float32, of every site.

    Raises:
        StatisticsError: A gradient is NaN or infinite.
    """
    positions: dict[str, Tensor] = {}
    gains: dict[str, Tensor] = {}
    for group in _groups(sites):
        totals = {s.name: torch.zeros(s.shape, device=s.weight.device) for s in group}

        def add(site: Site, gradient: Tensor, totals: dict[str, Tensor] = totals) -> None:
            totals[site.name] += gradient

        stream_gradients(group, terms(), add)
        for site in group:
            total = totals.pop(site.name)
            check_gradient(site.name, total)
            flat = removal_gain(site.matrix(), total).reshape(-1)
            del total
            kept = flat.topk(min(count, flat.numel())).indices.sort().values
            kept = kept[flat[kept] > 0]
            positions[site.name], gains[site.name] = kept, flat[kept]
    for name, best in highest(gains, count).items():
        positions[name], gains[name] = positions[name][best], gains[name][best]
    return positions, gains


def highest(scores: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return indices, ascending, of the ``count`` highest scores above zero over all sites.

    Fewer where fewer are above zero. Equal scores: the earlier site, then the lower index.

    Args:
        scores: Float [n] of every site.
        count: Most indices over all sites.
    """
    flat = torch.cat([score.cpu() for score in scores.values()])
    above = (flat > 0).nonzero().squeeze(1)
    order = flat[above].sort(stable=True, descending=True).indices[: max(count, 0)]
    picked = above[order].sort().values
    chosen, start = {}, 0
    for name, score in scores.items():
        inside = picked[(picked >= start) & (picked < start + score.numel())] - start
        chosen[name] = inside.to(score.device)
        start += score.numel()
    return chosen


def _groups(sites: Sequence[Site]) -> Iterator[list[Site]]:
    """Yield runs of sites whose float32 gradients fit into half of the weights' bytes."""
    weights = sum(site.weight.numel() * site.weight.element_size() for site in sites)
    limit, group, held = max(weights // 2, SMALL), list[Site](), 0
    for site in sites:
        size = 4 * site.weight.numel()
        if group and held + size > limit:
            yield group
            group, held = [], 0
        group.append(site)
        held += size
    yield group
