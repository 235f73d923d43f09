"""Keeping the largest of every row: one threshold a row, ties settled only where there are any.

On the CPU the threshold of a row comes from counting guesses or from numpy's vectorised partition
(:mod:`prosopon.selection.thresholds`), a few rows at a time so that they stay in the cache, on as
many threads as torch uses; on other devices from torch's ``kthvalue``. Both keep exactly the same
weights.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from prosopon.selection.thresholds import Bools, Counts, Floats, row_counts, row_thresholds

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 1 << 19  # numbers one thread looks at together: fewer cost calls, more leave the cache


def keep_largest_per_row(scores: Tensor, count: int, ties: Tensor | None = None) -> Tensor:
    """Keep ``count`` of every row: the largest; of equals those with larger ties, then the first.

    Args:
        scores: [rows, columns], floating point without NaN.
        count: From 0 to columns.
        ties: Second score, of the same shape.

    Returns:
        Bool [rows, columns] with ``count`` True in every row, contiguous, on the scores' device.
    """
    if count in (0, scores.shape[1]):
        return torch.full(scores.shape, count > 0, device=scores.device)
    if scores.device.type == "cpu":
        return _by_partition(scores, count, ties)
    return _by_kthvalue(scores, count, ties)


def _by_partition(scores: Tensor, count: int, ties: Tensor | None) -> Tensor:
    """Do it on the CPU."""
    rows, columns = scores.shape
    keep = torch.empty((rows, columns), dtype=torch.bool)
    step = max(1, _CHUNK // columns)

    def work(start: int) -> None:
        part = slice(start, start + step)
        second = None if ties is None else ties[part]
        _keep_chunk(_array(scores[part]), count, second, keep[part].numpy())

    starts = range(0, rows, step)
    threads = min(torch.get_num_threads(), len(starts))
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, starts))
    else:
        for start in starts:
            work(start)
    return keep


def _array(values: Tensor) -> Floats:
    """Return the numbers as float32 or float64, which hold every narrower float exactly."""
    wide = values.detach()
    if wide.dtype not in (torch.float32, torch.float64):
        wide = wide.float()
    return np.ascontiguousarray(wide.numpy())


def _keep_chunk(values: Floats, count: int, ties: Tensor | None, keep: Bools) -> None:
    """Write the keep-mask of a few rows into ``keep``.

    Rows whose lowest number stands at the threshold, as relu makes many, are told by counting it:
    no guess finds them, and a partition whose pivot falls among equals is several times slower.
    """
    place = values.shape[1] - count  # of the threshold when a row is sorted upwards
    lowest = values.min(axis=1, keepdims=True)
    level = values == lowest
    low = row_counts(level) > place
    if low.all():
        np.logical_not(level, out=keep)
        _settle(keep, level, count, None if ties is None else _array(ties))
        return
    threshold = lowest
    threshold[~low] = row_thresholds(values if not low.any() else values[~low], count)
    np.greater_equal(values, threshold, out=keep)
    crowded = row_counts(keep) > count
    if crowded.any():
        few, second = values[crowded], None
        if ties is not None:
            second = _array(ties[torch.from_numpy(crowded)])
        above, level = few > threshold[crowded], few == threshold[crowded]
        _settle(above, level, count, second)
        keep[crowded] = above


def _settle(keep: Bools, level: Bools, count: int, ties: Floats | None) -> None:
    """Add to ``keep``, what is above the threshold, as many of those level with it as have room."""
    missing = count - row_counts(keep)
    if ties is None:
        keep |= _first(level, missing)
        return
    cut = _cut(level, ties, missing)
    level &= ties >= cut
    crowded = np.flatnonzero(row_counts(level) > missing)
    if len(crowded):  # the ties have equals, too
        above = level[crowded] & (ties[crowded] > cut[crowded])
        room = missing[crowded] - row_counts(above)
        level[crowded] = above | _first(level[crowded] & ~above, room)
    keep |= level


def _cut(level: Bools, ties: Floats, missing: Counts) -> Floats:
    """Return [rows, 1]: where to cut each row's ties so that ``missing`` of its True are kept."""
    # After relu the equals stand in the same columns of every row: look at no others.
    columns = np.flatnonzero(level.any(axis=0))
    rivals = ties.take(columns, axis=1)
    if (row_counts(level) == len(columns)).all() and (missing == missing[0]).all():
        return row_thresholds(rivals, int(missing[0]))
    # Many would be minus infinity, and equals slow a partition down; a sort does not mind.
    ordered = np.sort(np.where(level.take(columns, axis=1), rivals, -np.inf), axis=1)
    return np.take_along_axis(ordered, (len(columns) - missing)[:, None], axis=1)


def _first(level: Bools, missing: Counts) -> Bools:
    """Pick the first ``missing`` [rows] of the True in ``level``."""
    crowded = np.flatnonzero(row_counts(level) > missing)
    if len(crowded):
        rank = np.cumsum(level[crowded], axis=1, dtype=np.int32)
        level[crowded] &= rank <= missing[crowded, None]
    return level


def _by_kthvalue(scores: Tensor, count: int, ties: Tensor | None) -> Tensor:
    """Do it on any device."""
    scores, columns = scores.contiguous(), scores.shape[1]
    threshold = scores.kthvalue(columns - count + 1, dim=1, keepdim=True).values
    keep = scores > threshold
    level = scores == threshold
    missing = count - keep.sum(dim=1, keepdim=True)
    # Ties are rare in most rows; only rows with more candidates than room are looked at again.
    crowded = (level.sum(dim=1, keepdim=True) > missing).squeeze(1)
    keep[~crowded] |= level[~crowded]
    if crowded.any():
        second = None if ties is None else ties[crowded]
        keep[crowded] |= _first_per_row(level[crowded], missing[crowded], second)
    return keep


def _first_per_row(level: Tensor, missing: Tensor, ties: Tensor | None) -> Tensor:
    """Pick ``missing`` [rows, 1] of the True in ``level``: larger ties first, then the first."""
    if ties is None:
        return level & (level.cumsum(dim=1) <= missing)
    order = ties.sort(dim=1, descending=True, stable=True).indices
    ranked = level.gather(1, order)
    picked = ranked & (ranked.cumsum(dim=1) <= missing)
    return torch.zeros_like(level).scatter_(1, order, picked)
