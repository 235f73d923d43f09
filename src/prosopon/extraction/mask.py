"""What every way to make a mask returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ExtractedMask:
    """Masks of all sites, on the CPU.

    Attributes:
        keep: Keep-mask of every site, bool ``[out, in]``.
        levels: Level of every pruned weight; see :class:`prosopon.subnetwork.Subnetwork`. None
            without a ranking.
        values: Compensated weights of every site, ``[out, in]`` in the model's dtype; empty
            where the kept weights stay as they are.
        notes: How ``auto`` chose; empty for a given sparsity.
        unread: Names of the experts that no token came to; they are kept whole.
    """

    keep: dict[str, Tensor]
    levels: dict[str, Tensor] | None = None
    values: dict[str, Tensor] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def pruned_share(self) -> float:
        """Share of all weights that are pruned."""
        pruned = sum(int((~mask).sum()) for mask in self.keep.values())
        return pruned / sum(mask.numel() for mask in self.keep.values())
