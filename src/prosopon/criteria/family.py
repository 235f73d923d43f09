"""What several criteria share: how much a weight counts, effect sizes, row shares, OWL's dials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from prosopon.options import option, require
from prosopon.selection import keep_largest_per_row, kept_count
from prosopon.statistics import ChannelStatistics

if TYPE_CHECKING:
    from torch import Tensor

Importance = Literal["magnitude", "relative"]
Moments = Callable[[ChannelStatistics], "tuple[Tensor, Tensor]"]

MOMENTS: dict[str, Moments] = {
    "value": lambda sums: (sums.mean, sums.variance),
    "size": lambda sums: (
        sums.mean_abs,
        (sums.total_square / sums.tokens - sums.mean_abs.square()).clamp_min(0),
    ),
    "rms": lambda sums: (sums.rms_mean, sums.rms_variance),
    "norm": lambda sums: (sums.norm_mean, sums.norm_variance),
}
"""Mean and variance of a channel: of h and |h| over tokens, of its rms and norm over texts."""


@dataclass(frozen=True)
class FamilyOptions:
    """Options that every criterion of the Wanda family has."""

    importance: Importance = option(
        "magnitude", "magnitude: |w|; relative: |w| / row sum + |w| / column sum, as in RIA"
    )
    owl: float = option(
        0.0,
        "OWL's lambda: layers with more outliers are pruned less, up to this much above and "
        "below the sparsity asked; 0 prunes all layers alike",
    )
    outlier: float = option(5.0, "OWL's M: a score above M times its layer's mean is an outlier")

    def __post_init__(self) -> None:
        require(0 <= self.owl < 0.5, f"option owl={self.owl}: must lie in [0, 0.5)")
        require(self.outlier > 0, f"option outlier={self.outlier}: must be above 0")


def weight_importance(weight: Tensor, kind: Importance) -> Tensor:
    """Return how much each weight counts by itself, ``[out, in]``, float32.

    ``relative`` is that of RIA (Zhang et al., Plug-and-Play, ICLR 2024): a weight counts by its
    share of its output row and of its input column, so that no channel is emptied whole.
    """
    size = weight.abs()
    if kind == "magnitude":
        return size
    return _share(size, size.sum(1, keepdim=True)) + _share(size, size.sum(0, keepdim=True))


def effect_size(
    first: ChannelStatistics, second: ChannelStatistics, moments: str, eps: float = 0.0
) -> Tensor:
    """Return (mean1 - mean2) / (sqrt(var1 + var2) + eps) of each channel, float64, ``[in]``.

    Zero where the denominator is: a channel that never varies tells nothing.
    """
    (mean, variance), (other_mean, other_variance) = map(MOMENTS[moments], (first, second))
    spread = (variance + other_variance).sqrt() + eps
    return ((mean - other_mean) / spread).masked_fill(spread == 0, 0.0)


def row_shares(score: Tensor) -> Tensor:
    """Return scores divided by the sum of their row; a row of zeros stays zeros."""
    return _share(score, score.double().sum(1, keepdim=True).float())


def top_of_rows(score: Tensor, share: float) -> Tensor:
    """Mark the highest ``floor(share * in)`` of every row; of equals the first. Bool."""
    return keep_largest_per_row(score, int(share * score.shape[1] + 1e-9))


def script_ties(score: Tensor, sparsity: float | None) -> Tensor:
    """Return 1 where the released script keeps a weight and 0 elsewhere, float32 ``[out, in]``.

    The script calls ``torch.topk`` on each row on the CPU; which of several equal scores that
    takes is neither by position nor by anything else of meaning.

    Raises:
        OptionError: The sparsity is not known.
    """
    require(sparsity is not None, "variant=reference needs the sparsity asked")
    assert sparsity is not None
    count = kept_count(score.shape[1], sparsity)
    rows = score.cpu()
    chosen = torch.zeros_like(rows).scatter_(1, rows.topk(count, dim=1).indices, 1.0)
    return chosen.to(score.device)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.where(whole > 0, 1.0), 0.0)
