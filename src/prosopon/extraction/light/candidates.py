"""Candidates: the few weights whose removal could pay, found once on the base model.

Everything later is kept for them alone, so that a light mask needs little more memory than the
model: a twentieth of the weights hold all that one in three hundred is chosen from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from prosopon import ranks
from prosopon.gradients import sum_gradients
from prosopon.models import Site
from prosopon.selection import keep_largest

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 256 * 2**20  # bytes of gradients that may be held at once whatever the model's size


def find_candidates(
    sites: Sequence[Site],
    terms: Callable[[], Iterable[Tensor]],
    gain: Callable[[Tensor, Tensor], Tensor],
    count: int,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the ``count`` weights with the highest gain above zero.

    The terms are run once where the gradients of all sites fit into half of the memory that is
    free, else once for every group of sites that fits into that, or into half of the weights'
    bytes.

    Args:
        sites: The sites.
        terms: Makes the terms of the objective afresh.
        gain: What removal gains, of (weights, gradients).
        count: How many; fewer where fewer have a gain.

    Returns:
        Flat positions, int64 ascending, and their gains, float32, of every site.

    Raises:
        StatisticsError: A gradient is NaN or infinite.
    """
    best = _Best(count)
    for group in _groups(sites):
        totals, _ = sum_gradients(group, terms())
        for site in group:
            gains = gain(site.matrix(), totals.pop(site.name))
            best.add(site.name, gains.reshape(-1))
    best.trim()
    return best.positions, best.gains


class _Best:
    """The highest gains so far; holds at most twice as many as are asked for."""

    def __init__(self, count: int) -> None:
        self._count, self._least = count, 0.0
        self.positions: dict[str, Tensor] = {}
        self.gains: dict[str, Tensor] = {}

    def add(self, name: str, gains: Tensor) -> None:
        """Take in the gains of a site, [weights]."""
        if len(gains) > self._count:  # a site alone may have more than are asked for
            floor = gains.kthvalue(len(gains) - self._count + 1).values
            chosen = ((gains >= floor) & (gains > self._least)).nonzero().squeeze(1)
        else:
            chosen = (gains > self._least).nonzero().squeeze(1)
        self.positions[name], self.gains[name] = chosen, gains[chosen]
        if sum(map(len, self.gains.values())) > 2 * self._count:
            self.trim()

    def trim(self) -> None:
        """Forget all but the highest."""
        for name, chosen in highest(self.gains, self._count).items():
            self.positions[name] = self.positions[name][chosen]
            self.gains[name] = self.gains[name][chosen]
        if sum(map(len, self.gains.values())) == self._count:
            # The next site may hold an equal gain, which would lose to the earlier site anyway.
            lowest = [gains.min() for gains in self.gains.values() if len(gains)]
            self._least = float(torch.stack(lowest).min())


def highest(scores: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return indices, ascending, of the ``count`` highest scores above zero over all sites.

    Fewer where fewer are above zero. Equal scores: the earlier site, then the lower index.

    Args:
        scores: Float [n] of every site.
        count: Most indices over all sites.
    """
    above = [score > 0 for score in scores.values()]
    if int(torch.stack([mask.sum() for mask in above]).sum()) > count:
        low = [torch.where(m, s, -torch.inf) for m, s in zip(above, scores.values(), strict=True)]
        above = keep_largest(low, max(count, 0))
    return {name: mask.nonzero().squeeze(1) for name, mask in zip(scores, above, strict=True)}


def _groups(sites: Sequence[Site]) -> Iterator[list[Site]]:
    """Yield runs of sites whose float32 gradients fit into memory at once."""
    weights = sum(site.weight.numel() * site.weight.element_size() for site in sites)
    limit = ranks.agree(lambda: max(weights // 2, SMALL, free_memory(sites[0].weight.device) // 2))
    group, used = list[Site](), 0
    for site in sites:
        size = 4 * site.weight.numel()
        if group and used + size > limit:
            yield group
            group, used = [], 0
        group.append(site)
        used += size
    yield group


def free_memory(device: torch.device) -> int:
    """Return this process's part of the bytes free on a device; 0 where it does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return free // ranks.local_size()
    except (AttributeError, ValueError, OSError):
        return 0
