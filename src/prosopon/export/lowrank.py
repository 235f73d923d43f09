"""The best approximation of a matrix by a product of two thin ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


_EXACT = 1024  # up to this smaller side the whole decomposition is cheap
_SPARE = 16  # directions beyond the rank that the randomised method keeps
_POWERS = 8


def factors(delta: Tensor, rank: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return (B, A) with B A close to ``delta``: its truncated singular value decomposition.

    No product of that rank is closer in the Frobenius norm (Eckart and Young 1936). Of a large
    matrix the leading singular vectors come from the randomised method with power iterations
    (Halko, Martinsson and Tropp 2011, arXiv:0909.4061), which may fall a little short; how far,
    :func:`squared_error` says of either. The global random state stays as it was.

    B is float32 [out, rank] and A float32 [rank, in], on the device of ``delta`` [out, in], each
    with the square root of the singular values; beyond min(out, in) filled up with zeros.
    """
    delta = delta.float()
    count = min(rank, *delta.shape)
    left, sizes, right = _decompose(delta, count, seed)
    root, spare = sizes[:count].sqrt(), rank - count
    tall = left[:, :count] * root
    wide = root.unsqueeze(1) * right[:count]
    pad = torch.nn.functional.pad
    return pad(tall, (0, spare)), pad(wide, (0, 0, 0, spare))


def squared_error(delta: Tensor, tall: Tensor, wide: Tensor) -> tuple[float, float]:
    """Return the squared Frobenius norms of ``delta - tall @ wide`` and of ``delta``."""
    delta = delta.float()
    rest = delta - tall.float() @ wide.float()
    norms = [float(matrix.square().sum(dtype=torch.float64)) for matrix in (rest, delta)]
    return norms[0], norms[1]


def _decompose(delta: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return U [out, k], the singular values [k] and V^T [k, in], k at least ``count``."""
    if min(delta.shape) <= max(_EXACT, 4 * count):
        left, sizes, right = torch.linalg.svd(delta, full_matrices=False)
        return left, sizes, right
    devices = [delta.device] if delta.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        left, sizes, right = torch.svd_lowrank(delta, q=count + _SPARE, niter=_POWERS)
    return left, sizes, right.T
