"""The packed form of a mask: one bit a weight, every row on its own bytes.

Bit 7 of the first byte is column 0 (big-endian within a byte). A row that does not fill its
last byte ends in zero bits, so that one mask has exactly one packed form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from prosopon.errors import SubnetworkError

if TYPE_CHECKING:
    from torch import Tensor


def packed_width(in_features: int) -> int:
    """Return the number of bytes of a packed row."""
    return -(-in_features // 8)


def pack_rows(keep: Tensor) -> Tensor:
    """Pack a mask, bool [out, in] on any device, into uint8 [out, ceil(in / 8)] on the CPU."""
    return torch.from_numpy(np.packbits(keep.detach().cpu().numpy(), axis=1))


def unpack_rows(packed: Tensor, in_features: int) -> Tensor:
    """Undo :func:`pack_rows`, for a mask of ``in_features`` columns.

    Raises:
        SubnetworkError: The dtype or width is another, or a bit beyond the last column is set.
    """
    width = packed_width(in_features)
    if packed.dtype != torch.uint8 or packed.ndim != 2 or packed.shape[1] != width:
        kind = str(packed.dtype).removeprefix("torch.")
        raise SubnetworkError(
            f"a packed mask of {in_features} columns must be uint8 [out, {width}], not "
            f"{kind} {list(packed.shape)}"
        )
    padding = 8 * width - in_features
    if padding and bool((packed[:, -1] & ((1 << padding) - 1)).any()):
        raise SubnetworkError(f"a packed mask has bits set beyond its {in_features} columns")
    bits = np.unpackbits(packed.cpu().numpy(), axis=1, count=in_features)
    return torch.from_numpy(bits.view(np.bool_))
