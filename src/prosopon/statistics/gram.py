"""The Gram matrix X^T X of a site's input: what second-order pruning of a layer needs.

A monoid like the channel statistics, but of ``in * in`` numbers a site: 8 bytes each, 0.13 GB
for 4,096 channels. It is collected for the criteria that ask for it and for as many sites at
a time as fit a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from prosopon.models import Site
from prosopon.statistics.container import SiteSums, Sums

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GramStatistics(Sums):
    """Sum of the outer products of one site's input over the tokens in scope."""

    title = "Gram matrices"

    total: Tensor  # sum over tokens of ``h h^T``, symmetric, ``[in, in]``, float64

    @classmethod
    def zero(cls, channels: int) -> GramStatistics:
        """Return the neutral element for ``channels`` input channels."""
        return cls(0, torch.zeros(channels, channels, dtype=torch.float64))

    @classmethod
    def of_batch(cls, values: Tensor, mask: Tensor) -> GramStatistics:
        """Return the Gram matrix of one batch.

        Products within a batch are float32 (float64 where the input is).
        """
        chosen = values[mask]  # excluded tokens may be NaN: picked out, not multiplied by zero
        wide = chosen if chosen.dtype == torch.float64 else chosen.float()
        return cls(len(wide), (wide.T @ wide).double().cpu())

    @property
    def mean(self) -> Tensor:
        """Gram matrix per token, ``E h h^T``, ``[in, in]``, float64."""
        return self.total / max(self.tokens, 1)


Grams = SiteSums[GramStatistics]
"""Gram matrices of sites for one set of examples."""


def gram_portions(sites: Sequence[Site], limit: int = 2 << 30) -> Iterator[list[Site]]:
    """Cut the sites into runs whose Gram matrices take at most ``limit`` bytes together.

    At least one site a run. A shared input is counted once for every site, so the estimate
    errs on the safe side.
    """
    portion: list[Site] = []
    used = 0
    for site in sites:
        needed = 8 * site.in_features**2
        if portion and used + needed > limit:
            yield portion
            portion, used = [], 0
        portion.append(site)
        used += needed
    if portion:
        yield portion
