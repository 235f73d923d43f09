"""Keeping the largest of every row: one partition a row, ties settled only where there are any.

On the CPU the threshold of a row comes from numpy's vectorised partition, a few rows at a time so
that they stay in the cache, on as many threads as torch uses; on other devices from torch's
``kthvalue``. Both keep exactly the same weights.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_CHUNK = 1 << 19  # numbers one thread looks at together: fewer cost calls, more leave the cache

Floats = NDArray[Any]
Bools = NDArray[np.bool_]


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
    a partition whose pivot falls among equals is several times slower than others.
    """
    place = values.shape[1] - count  # of the threshold when a row is sorted upwards
    lowest = values.min(axis=1, keepdims=True)
    level = values == lowest
    low = _row_counts(level) > place
    if low.all():
        keep[:] = _settle(~level, level, count, None if ties is None else _array(ties))
        return
    threshold = lowest
    part = values if not low.any() else values[~low]
    threshold[~low] = np.partition(part, place, axis=1)[:, place : place + 1]
    np.greater_equal(values, threshold, out=keep)
    crowded = _row_counts(keep) > count
    if crowded.any():
        few, second = values[crowded], None
        if ties is not None:
            second = _array(ties[torch.from_numpy(crowded)])
        above, level = few > threshold[crowded], few == threshold[crowded]
        keep[crowded] = _settle(above, level, count, second)


def _settle(keep: Bools, level: Bools, count: int, ties: Floats | None) -> Bools:
    """Keep what is above the threshold, and as many of those level with it as there is room for."""
    missing = count - _row_counts(keep)
    if ties is None:
        return keep | _first(level, missing)
    cut = _cut(level, ties, missing)
    level &= ties >= cut
    crowded = np.flatnonzero(_row_counts(level) > missing)
    if len(crowded):  # the ties have equals, too
        above = level[crowded] & (ties[crowded] > cut[crowded])
        room = missing[crowded] - _row_counts(above)
        level[crowded] = above | _first(level[crowded] & ~above, room)
    return keep | level


def _cut(level: Bools, ties: Floats, missing: NDArray[np.int32]) -> Floats:
    """Return [rows, 1]: the ``missing``-th largest tie of each row's True in ``level``."""
    # After relu the equals stand in the same columns of every row: look at no others.
    columns = np.flatnonzero(level.any(axis=0))
    rivals, open_ = ties.take(columns, axis=1), level.take(columns, axis=1)
    places = len(columns) - missing
    if open_.all() and (places == places[0]).all():
        place = int(places[0])
        return np.partition(rivals, place, axis=1)[:, place : place + 1]
    # Many would be minus infinity, and equals slow a partition down; a sort does not mind.
    ordered = np.sort(np.where(open_, rivals, -np.inf), axis=1)
    return np.take_along_axis(ordered, places[:, None], axis=1)


def _first(level: Bools, missing: NDArray[np.int32]) -> Bools:
    """Pick the first ``missing`` [rows] of the True in ``level``."""
    crowded = np.flatnonzero(_row_counts(level) > missing)
    if len(crowded):
        rank = np.cumsum(level[crowded], axis=1, dtype=np.int32)
        level[crowded] &= rank <= missing[crowded, None]
    return level


def _row_counts(flags: Bools) -> NDArray[np.int32]:
    # Summing bytes is several times faster than counting bools.
    counts: NDArray[np.int32] = flags.view(np.uint8).sum(axis=1, dtype=np.int32)
    return counts


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
