"""Sets of positions in a matrix, kept small, and reading and writing weights at them.

A position is the row-major number of an element of the canonical [out, in] matrix, whatever
the layout of the weight in memory.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_BITS = 32  # of one listed position: a list is smaller than bits below one position in 32


class Positions:
    """The positions that a mask prunes: a sorted list if they are few, bits if many.

    A light mask costs 4 bytes a pruned weight, a heavy one an eighth of a byte a weight.

    Args:
        keep: Bool [out, in], True where the weight is kept.
    """

    def __init__(self, keep: Tensor) -> None:
        pruned = ~keep.flatten().cpu()
        self._total = pruned.numel()
        self._count = int(pruned.count_nonzero())
        self._is_list = self._count * _BITS < self._total and self._total <= 1 << (_BITS - 1)
        if self._is_list:
            self._data = pruned.nonzero().squeeze(1).to(torch.int32)
        else:
            self._data = torch.from_numpy(np.packbits(pruned.numpy()))

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Memory that the set takes."""
        return self._data.nbytes

    def to(self, device: torch.device) -> Positions:
        """Move the set to a device, in place, and return it."""
        self._data = self._data.to(device)
        return self

    def indices(self) -> Tensor:
        """Return the positions: int64, ascending, on the set's device."""
        if self._is_list:
            return self._data.long()
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=self._data.device)
        bits = (self._data.unsqueeze(1) >> shifts) & 1
        return bits.flatten().nonzero().squeeze(1)

    def contains(self, indices: Tensor) -> Tensor:
        """Return for every one of the int64 ``indices`` whether it is in the set (bool)."""
        if not self._count:
            return torch.zeros_like(indices, dtype=torch.bool)
        if self._is_list:
            wanted = indices.to(torch.int32)
            place = torch.searchsorted(self._data, wanted).clamp_(max=self._count - 1)
            return self._data[place] == wanted
        byte = self._data[indices >> 3]
        return ((byte >> (7 - (indices & 7)).to(torch.uint8)) & 1).bool()


def read(matrix: Tensor, indices: Tensor) -> Tensor:
    """Return a copy of the elements of ``matrix`` at the int64 positions ``indices``."""
    view, key = _locate(matrix, indices)
    return view[key]


def write(matrix: Tensor, indices: Tensor, values: Tensor) -> None:
    """Write ``values`` to ``matrix`` at ``indices``; nothing else in its memory changes."""
    view, key = _locate(matrix, indices)
    view.index_put_(key, values)


def _locate(matrix: Tensor, indices: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return a view of the matrix and the key of the positions in it.

    A flat key is several times faster; a turned matrix (Conv1D) has no flat view in row-major
    order, so that its positions are split into row and column.
    """
    if matrix.is_contiguous():
        return matrix.view(-1), (indices,)
    columns = matrix.shape[1]
    return matrix, (indices // columns, indices % columns)
