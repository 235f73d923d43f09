"""Sets of positions in a matrix, kept small.

A position is the row-major number of an element of the canonical [out, in] matrix, whatever
the layout of the weight in memory.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_BITS = 32  # of one listed position: a list is smaller than bits below one position in 32
_ONES = torch.tensor([value.bit_count() for value in range(256)], dtype=torch.uint8)


class Positions:
    """A set of positions: a sorted list if they are few, bits if many.

    A light mask costs 4 bytes a pruned weight, a heavy one an eighth of a byte a weight.

    Args:
        members: Bool, any shape; True where the element, counted row-major, is in the set.
    """

    def __init__(self, members: Tensor) -> None:
        flat = members.flatten().cpu()
        self.total = flat.numel()
        self._count = int(flat.count_nonzero())
        self.is_list = self._count * _BITS < self.total and self.total <= 1 << (_BITS - 1)
        if self.is_list:
            self._data = flat.nonzero().squeeze(1).to(torch.int32)
        else:
            self._data = torch.from_numpy(np.packbits(flat.numpy()))

    @classmethod
    def of(cls, indices: Tensor, total: int) -> Positions:
        """Make the set of the int64 ``indices`` below ``total``, on their device."""
        members = torch.zeros(total, dtype=torch.bool)
        members[indices.cpu()] = True
        return cls(members).to(indices.device)

    def __len__(self) -> int:
        return self._count

    def to(self, device: torch.device) -> Positions:
        """Move the set to a device, in place, and return it."""
        self._data = self._data.to(device)
        return self

    def indices(self) -> Tensor:
        """Return the positions: int64, ascending, on the set's device."""
        if self.is_list:
            return self._data.long()
        return _set_bits(self._data)

    def contains(self, indices: Tensor) -> Tensor:
        """Return for every one of the int64 ``indices`` whether it is in the set (bool)."""
        if not self._count:
            return torch.zeros_like(indices, dtype=torch.bool)
        if self.is_list:
            return is_among(self._data, indices.to(torch.int32))
        byte = self._data[indices >> 3]
        return ((byte >> (7 - (indices & 7)).to(torch.uint8)) & 1).bool()

    def rank(self, indices: Tensor) -> Tensor:
        """Return the place of each of the int64 ``indices``, members all, in :meth:`indices`."""
        if self.is_list:
            return torch.searchsorted(self._data, indices.to(torch.int32))
        ones = _ONES.to(self._data.device)
        before = ones[self._data.int()].cumsum(0) - ones[self._data.int()]
        byte = indices >> 3
        # 8 - bit shifts the bits from the index on out of the byte: what is left comes before.
        left = self._data[byte].int() >> (8 - (indices & 7)).int()
        return before[byte] + ones[left]


def symmetric_difference(one: Positions, other: Positions) -> Tensor:
    """Return the positions that are in one of two sets of one size: int64, ascending."""
    if not one.is_list and not other.is_list:
        return _set_bits(one._data ^ other._data)
    ours, theirs = one.indices(), other.indices()
    apart = ours[~other.contains(ours)], theirs[~one.contains(theirs)]
    return torch.cat(apart).sort().values


def union(one: Tensor, other: Tensor, total: int) -> Tensor:
    """Return the union of two ascending lists of int64 positions below ``total``, ascending."""
    if (len(one) + len(other)) * _BITS < total:
        both: Tensor = torch.unique(torch.cat([one, other]))
        return both
    members = torch.zeros(total, dtype=torch.bool, device=one.device)
    members[one] = members[other] = True
    return members.nonzero().squeeze(1)


def is_among(ascending: Tensor, wanted: Tensor) -> Tensor:
    """Return for every one of ``wanted`` whether it is in a list that ascends (bool)."""
    if not len(ascending):
        return torch.zeros_like(wanted, dtype=torch.bool)
    place = torch.searchsorted(ascending, wanted).clamp_(max=len(ascending) - 1)
    return ascending[place] == wanted


def _set_bits(packed: Tensor) -> Tensor:
    """Return the numbers of the bits that are set in packed bytes: int64, ascending."""
    bytes_ = packed.nonzero().squeeze(1)  # most bytes of a difference are zero
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    hits = ((packed[bytes_].unsqueeze(1) >> shifts) & 1).nonzero()
    return (bytes_[hits[:, 0]] << 3) + hits[:, 1]
