"""A matrix that is zero outside of a few rows and columns, as a product of that rank: exactly.

Each covering row or column is one term of the product: a row is a unit vector times the row, a
column the column times a unit vector. Every entry then comes from one term alone, so nothing is
added up, and the product is the matrix bit for bit, in every float type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Indices = NDArray[np.int64]


def minimum_cover(present: Tensor) -> tuple[Indices, Indices]:
    """Return the fewest rows and columns that hold every True entry, ascending.

    Rows and columns are the two sides of a graph whose edges are the entries. Its smallest vertex
    cover has as many vertices as its largest matching (König 1931): what is reached from the
    unmatched rows by paths that alternate is on the other side of the cover.

    Args:
        present: Bool [out, in].
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    edges = csr_array(present.cpu().numpy())
    column_of = np.asarray(maximum_bipartite_matching(edges, perm_type="column"))  # -1: none
    row_of = np.full(edges.shape[1], -1)
    matched = np.flatnonzero(column_of >= 0)
    row_of[column_of[matched]] = matched
    rows, columns = (np.zeros(size, dtype=np.bool_) for size in edges.shape)
    new = np.flatnonzero(column_of < 0)
    while len(new):
        rows[new] = True
        beside = np.unique(edges[new].indices)
        beside = beside[~columns[beside]]
        columns[beside] = True
        new = row_of[beside]  # matched, or the matching would not be the largest
        new = new[~rows[new]]
    lonely = np.diff(edges.indptr) == 0
    return np.flatnonzero(~rows & ~lonely), np.flatnonzero(columns)


def exact_factors(
    delta: Tensor, cover: tuple[Indices, Indices], rank: int
) -> tuple[Tensor, Tensor]:
    """Return (B [out, rank], A [rank, in]) with B A equal to ``delta``, in its dtype.

    Args:
        delta: [out, in], zero outside of the cover.
        cover: Rows and columns, together at most ``rank``.
        rank: Of the factors; those that the cover does not need are zero.
    """
    rows, columns = (torch.from_numpy(part).to(delta.device) for part in cover)
    count = len(rows) + len(columns)
    tall, wide = delta.new_zeros(delta.shape[0], rank), delta.new_zeros(rank, delta.shape[1])
    terms = torch.arange(count, device=delta.device)
    tall[rows, terms[: len(rows)]] = 1
    wide[: len(rows)] = delta[rows]
    rest = delta[:, columns]
    rest[rows] = 0  # those entries are the rows'
    tall[:, len(rows) : count] = rest
    wide[terms[len(rows) :], columns] = 1
    return tall, wide
