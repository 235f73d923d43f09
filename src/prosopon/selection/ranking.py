"""Keeping the largest of many numbers: exact counts, a full order, no sort of everything.

The threshold is found digit by digit from histograms of the numbers' bits, one site at a time, so
that billions of scores never lie in one tensor and are never sorted. For one row's largest see
``rows``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

_DIGIT = 16  # bits of a number that one histogram looks at
_BINS = 1 << _DIGIT
_FEW = 1 << _DIGIT  # so many numbers are faster to sort than to count into the bins


def kept_count(total: int, sparsity: float) -> int:
    """Return floor((1 - sparsity) total), robust to the rounding of the product.

    ``(1 - 0.9) * 10`` is a hair below 1 in floating point; 1 is what is meant. The margin
    grows with ``total`` because the rounding error does.
    """
    return math.floor((1.0 - sparsity) * total + 1e-9 + 1e-15 * total)


def keep_largest(
    groups: Sequence[Tensor], count: int, ties: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """Keep ``count`` of all numbers in all groups together.

    The largest are kept; of equals those with larger ties, then those that come first (group,
    then row-major position). Memory: a few bytes a number, for one group at a time.

    Args:
        groups: Floating point tensors of any shapes without NaN.
        count: From 0 to the number of numbers.
        ties: Second scores, of the same shapes.

    Returns:
        Bool tensors of the groups' shapes, with ``count`` True in all.
    """
    keep = [torch.zeros(group.shape, dtype=torch.bool, device=group.device) for group in groups]
    level = [torch.ones_like(mask) for mask in keep]
    for scores in (groups, ties):
        if scores is not None and 0 < count < sum(int(part.sum()) for part in level):
            count = _split(scores, keep, level, count)
    _keep_first(keep, level, count)
    return keep


def _split(scores: Sequence[Tensor], keep: list[Tensor], level: list[Tensor], count: int) -> int:
    """Keep what lies above the threshold, leave in ``level`` what lies on it.

    Returns:
        How many of ``level`` are still to be kept.
    """
    dtype = _common_dtype(scores)
    threshold = _nth_largest(scores, level, count, dtype)
    for score, mask, part in zip(scores, keep, level, strict=True):
        above = part & (score.to(dtype) > threshold)
        mask |= above
        part &= score.to(dtype) == threshold
        count -= int(above.sum())
    return count


def _keep_first(keep: list[Tensor], level: list[Tensor], count: int) -> None:
    """Keep the first ``count`` of those in ``level``."""
    for mask, part in zip(keep, level, strict=True):
        present = int(part.sum())
        if present > count:
            part &= part.flatten().cumsum(0).view_as(part) <= count
        mask |= part
        count -= min(present, count)


def _common_dtype(scores: Sequence[Tensor]) -> torch.dtype:
    """Return the dtype that holds all scores exactly and whose bits can be read as integers."""
    wide = any(score.dtype == torch.float64 for score in scores)
    return torch.float64 if wide else torch.float32


def _nth_largest(
    scores: Sequence[Tensor], among: Sequence[Tensor], count: int, dtype: torch.dtype
) -> float:
    """Return the ``count``-th largest of the scores that ``among`` marks."""
    if sum(int(part.sum()) for part in among) > _FEW:
        return _nth_largest_by_digits(scores, among, count, dtype)
    marked = [s[part].to(dtype).cpu() for s, part in zip(scores, among, strict=True)]
    return float(torch.cat(marked).sort(descending=True).values[count - 1])


def _nth_largest_by_digits(
    scores: Sequence[Tensor], among: Sequence[Tensor], count: int, dtype: torch.dtype
) -> float:
    """Do the same without gathering the numbers: a radix search.

    The bits of a float, read as an integer whose order is that of the floats, are fixed 16 at
    a time, from the top, each time by one histogram over what is still open.
    """
    width = torch.finfo(dtype).bits
    prefix = 0
    for shift in range(width - _DIGIT, -1, -_DIGIT):
        top = shift + _DIGIT == width
        histogram = torch.zeros(_BINS, dtype=torch.int64)
        for score, part in zip(scores, among, strict=True):
            keys = _ordered_bits(score[part].to(dtype))
            if not top:
                keys = keys[(keys >> (shift + _DIGIT)) == prefix]
            digits = _digit(keys, shift, top=top)
            histogram += torch.bincount(digits, minlength=_BINS).cpu()
        at_least = histogram.flip(0).cumsum(0).flip(0)
        digit = int((at_least >= count).sum()) - 1  # at_least falls from the first bin to the last
        count -= int(at_least[digit] - histogram[digit])
        prefix = digit - _BINS // 2 if top else (prefix << _DIGIT) | digit
    return _from_ordered_bits(prefix, dtype)


def _ordered_bits(values: Tensor) -> Tensor:
    """Return signed integers that are ordered as the floats are; -0.0 and 0.0 are one."""
    kind = torch.int64 if values.dtype == torch.float64 else torch.int32
    bits = (values + 0.0).view(kind)  # -0.0 + 0.0 is 0.0
    # A negative float grows with smaller magnitude bits: turn them over, but not the sign.
    return bits ^ ((bits >> (torch.iinfo(kind).bits - 1)) & torch.iinfo(kind).max)


def _digit(keys: Tensor, shift: int, *, top: bool) -> Tensor:
    """Return one digit of the keys, from 0; the top one carries the sign."""
    return (keys >> shift) + _BINS // 2 if top else (keys >> shift) & (_BINS - 1)


def _from_ordered_bits(key: int, dtype: torch.dtype) -> float:
    """Return the float whose ordered bits are ``key``."""
    kind = torch.int64 if dtype == torch.float64 else torch.int32
    bits = torch.tensor([key], dtype=kind)
    bits ^= (bits >> (torch.iinfo(kind).bits - 1)) & torch.iinfo(kind).max
    return float(bits.view(dtype))
