"""Which personas' masks are alike: hierarchical clustering by what they prune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prosopon.analysis.overlap import PairOverlap, matrix, overlaps
from prosopon.subnetwork import Subnetwork

METHOD = "average"


@dataclass(frozen=True)
class Clustering:
    """A hierarchical clustering of personas.

    Attributes:
        names: The personas.
        distances: Jaccard distances between pruned sets, [personas, personas].
        merges: Rows of scipy's linkage: the two clusters merged, their distance, their size.
            Clusters from ``len(names)`` on are earlier merges.
        order: The names as a dendrogram shows its leaves.
    """

    names: tuple[str, ...]
    distances: tuple[tuple[float, ...], ...]
    merges: tuple[tuple[int, int, float, int], ...]
    order: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "names": list(self.names),
            "method": METHOD,
            "distances": [list(row) for row in self.distances],
            "merges": [list(row) for row in self.merges],
            "order": list(self.order),
        }


def cluster(subnetworks: Mapping[str, Subnetwork]) -> Clustering:
    """Cluster personas by average linkage over the Jaccard distance of their pruned sets.

    Raises:
        OptionError: There are fewer than two.
        SubnetworkError: Two belong to different models, or their sites differ.
    """
    return cluster_pairs(list(subnetworks), overlaps(subnetworks))


def cluster_pairs(names: Sequence[str], pairs: Sequence[PairOverlap]) -> Clustering:
    """Cluster personas whose overlaps are known; two empty masks are at distance 0."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    similar = matrix(names, pairs, lambda overlap: overlap.jaccard_pruned)
    distances = np.array([[0.0 if x is None else 1.0 - x for x in row] for row in similar])
    merges = linkage(squareform(distances), method=METHOD)
    return Clustering(
        names=tuple(names),
        distances=tuple(tuple(map(float, row)) for row in distances),
        merges=tuple((int(a), int(b), float(d), int(n)) for a, b, d, n in merges),
        order=tuple(names[index] for index in leaves_list(merges)),
    )
