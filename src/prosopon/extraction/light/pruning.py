"""Weights set to zero for a while, and put back bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prosopon.models import Site

if TYPE_CHECKING:
    from torch import Tensor

Positions = Mapping[str, "Tensor"]
"""Flat positions in the canonical matrix of every site, int64, ascending."""


@contextmanager
def temporary_pruning(sites: Sequence[Site]) -> Iterator[Callable[[Positions], None]]:
    """Yield ``prune(positions)``; every weight it set to zero is put back on exit."""
    journal: list[tuple[Site, Tensor, Tensor, Tensor]] = []

    def prune(positions: Positions) -> None:
        for site in sites:
            flat = positions.get(site.name)
            if flat is None or not len(flat):
                continue
            rows, columns = flat // site.in_features, flat % site.in_features
            matrix = site.matrix()
            # The originals are kept before the write, so that no interruption can lose them.
            journal.append((site, rows, columns, matrix[rows, columns].clone()))
            matrix[rows, columns] = 0

    try:
        yield prune
    finally:
        for site, rows, columns, values in reversed(journal):
            site.matrix()[rows, columns] = values
