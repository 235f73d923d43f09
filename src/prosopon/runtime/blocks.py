"""What looks take off the weights of sites, as sparse matrices that are kept for the next time."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from prosopon.models import Site
from prosopon.runtime.cache import LookCache
from prosopon.runtime.gates import Gating, apply_gates
from prosopon.runtime.looks import Look

Gatings = Callable[[Look, Site], Gating | None]

FAST_VECTOR = bool(torch.backends.mkl.is_available())  # type: ignore[no-untyped-call]
"""Whether a sparse matrix on the CPU is fast with one vector."""


class Block(NamedTuple):
    """The difference D [out, in] of one look at one site, in compressed rows."""

    starts: Tensor  # int64 [out + 1]: where each row begins
    lines: Tensor  # int64 [n]: the rows of the weights
    columns: Tensor  # int64 [n]: their columns
    base: Tensor  # [n]: the weights that it was made of
    values: Tensor  # [n], in the dtype of the weights, but at least float32

    @property
    def nbytes(self) -> int:
        """Memory that the block takes."""
        return sum(tensor.nbytes for tensor in self)


class Blocks:
    """Makes blocks of what ``gatings`` says of a look, and keeps them for the next batch."""

    def __init__(self, gatings: Gatings, limit: int = 1 << 29) -> None:
        self._gatings = gatings
        self.cache = LookCache[tuple[Look, str], Block | None](limit)

    def get(self, look: Look, site: Site) -> Block | None:
        """Return the block of a look at a site whose weights are the base's; None for none."""
        key = look, site.name
        if key in self.cache:
            cached = self.cache.get(key)
            if cached is None or _is_current(site, cached):
                return cached
        gating = self._gatings(look, site)
        fresh = block(site, gating) if gating is not None and len(gating) else None
        self.cache.put(key, fresh, fresh.nbytes if fresh else 0, (look,))
        return fresh

    def digest(self, look: Look, sites: Sequence[Site]) -> bytes:
        """Return 32 bytes that name what a look takes off, whatever its personas are called."""
        digest = hashlib.blake2b(digest_size=32)
        for site in sites:
            gating = self._gatings(look, site)
            if gating is not None and len(gating):
                gates = torch.as_tensor(gating.gates, dtype=torch.float64)
                digest.update(site.name.encode())
                for part in (gating.indices(), gates):
                    digest.update(part.cpu().numpy().tobytes() + b"|")
        return digest.digest()


def _is_current(site: Site, cached: Block) -> bool:
    """Tell whether a block was made of the weights that are there now."""
    if site.quantised:  # such weights are never written
        return True
    now = site.matrix()[cached.lines, cached.columns]
    return now.dtype == cached.base.dtype and bool(torch.equal(now, cached.base))


def block(site: Site, gating: Gating) -> Block:
    """Return what a gating takes off a site's weights, which must be the base's."""
    indices = gating.indices()
    lines, columns = indices // site.in_features, indices % site.in_features
    weights = site.matrix()[lines, columns]
    wide = torch.promote_types(weights.dtype, torch.float32)
    values = weights.to(wide) - apply_gates(weights, gating.gates).to(wide)
    counts = torch.bincount(lines, minlength=site.out_features)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Block(starts, lines, columns, weights, values)


def diagonal(site: Site, blocks: Sequence[Block]) -> Tensor:
    """Put blocks on the diagonal of one matrix in compressed rows.

    Its numbers are int32, as the libraries want them; int64 ones they would convert each time.
    """
    starts, columns, before = [blocks[0].starts[:1]], [], 0
    for place, part in enumerate(blocks):
        starts.append(part.starts[1:] + before)
        columns.append(part.columns + place * site.in_features)
        before += len(part.columns)
    shape = len(blocks) * site.out_features, len(blocks) * site.in_features
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "Sparse CSR tensor support is in beta"
        return torch.sparse_csr_tensor(
            torch.cat(starts).int(),
            torch.cat(columns).int(),
            torch.cat([part.values for part in blocks]),
            shape,
            check_invariants=False,
        )


def multiply(matrix: Tensor, columns: Tensor) -> Tensor:
    """Return a sparse matrix times dense columns: [n, m] x [m, k]."""
    if columns.shape[1] == 1 and (FAST_VECTOR or matrix.is_cuda):
        return torch.mv(matrix, columns.squeeze(1)).unsqueeze(1)  # several times faster
    return matrix @ columns
