"""How much subnetworks share: pruned and kept sets, cosines, what chance would give; clusters."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from prosopon.errors import OptionError
from prosopon.models import layer_index, projection, role
from prosopon.subnetwork import Subnetwork
from prosopon.subnetwork.algebra import check_agree

ALL = "all"
OUTSIDE = "-"
"""The group of sites outside the numbered layers."""

METHOD = "average"
"""Linkage of a clustering."""

GROUPINGS: Mapping[str, Callable[[str], str]] = {
    "kind": role,
    "layer": lambda site: OUTSIDE if (layer := layer_index(site)) is None else str(layer),
    "projection": projection,
}
"""Ways to group sites, by name: what a site is part of, its layer, the matrix's own name."""


class Counts(NamedTuple):
    """Weights of a site: all, pruned by the first mask, by the second, by both."""

    total: int
    first: int
    second: int
    both: int


@dataclass(frozen=True, slots=True)
class Overlap:
    """What two masks share in some sites. A figure that has no meaning there is None.

    Chance is what two masks would share that prune as many weights of each site as these do,
    each at random places: site by site, the number that both prune is hypergeometric with the
    mean n1 n2 / N. The Jaccard index and the cosine of chance are those of that mean count.
    """

    total: int  # weights
    pruned: tuple[int, int]  # how many the first and the second prune
    both: int  # how many both prune
    jaccard_pruned: float | None  # of the pruned sets: both / either. None where neither prunes.
    jaccard_kept: float | None  # of the kept sets; None where nothing is kept
    differing: float  # share of mask entries that differ
    # cosine between the indicators of the pruned sets; None where one is empty
    cosine_pruned: float | None
    cosine_kept: float | None  # cosine between the masks as the paper takes them, 1 where kept
    # expected number that both prune, by chance; ``expected_jaccard_pruned``,
    # ``expected_differing`` and ``expected_cosine_pruned`` are of that number
    expected_both: float
    expected_jaccard_pruned: float | None
    expected_differing: float
    expected_cosine_pruned: float | None
    # how many standard deviations ``both`` lies above chance; None where chance leaves no choice (a
    # mask that prunes none or all of every site)
    z: float | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self) | {"pruned": list(self.pruned)}


def site_counts(first: Subnetwork, second: Subnetwork) -> dict[str, Counts]:
    """Return the counts of every site, reading one site at a time."""
    check_agree((first, second))
    counts = {}
    for site, keep in first.keep.items():
        ours, theirs = ~keep.numpy(), ~second.keep[site].numpy()
        sets = (ours, theirs, ours & theirs)
        counts[site] = Counts(ours.size, *(int(np.count_nonzero(one)) for one in sets))
    return counts


def overlap_of(counts: Sequence[Counts]) -> Overlap:
    """Return the overlap over some sites; chance keeps the sizes of every one of them."""
    if not counts:
        raise OptionError("an overlap needs at least one site")
    total, first, second, both = (sum(column) for column in zip(*counts, strict=True))
    expected = sum(count.first * count.second / count.total for count in counts)
    deviation = math.sqrt(sum(map(_variance, counts)))
    kept_first, kept_second, either = total - first, total - second, first + second - both
    pruned_root = math.sqrt(first * second)
    return Overlap(
        total=total,
        pruned=(first, second),
        both=both,
        jaccard_pruned=_ratio(both, either),
        jaccard_kept=_ratio(total - either, total - both),
        differing=(either - both) / total,
        cosine_pruned=_ratio(both, pruned_root),
        cosine_kept=_ratio(total - either, math.sqrt(kept_first * kept_second)),
        expected_both=expected,
        expected_jaccard_pruned=_ratio(expected, first + second - expected),
        expected_differing=(first + second - 2 * expected) / total,
        expected_cosine_pruned=_ratio(expected, pruned_root),
        z=_ratio(both - expected, deviation),
    )


def group_counts(counts: Mapping[str, Counts], grouping: str) -> dict[str, Overlap]:
    """Return the overlap of every group of sites; layers by number, others in order."""
    if grouping not in GROUPINGS:
        raise OptionError(f"unknown grouping {grouping!r}. Choices: {', '.join(GROUPINGS)}")
    groups: dict[str, list[Counts]] = defaultdict(list)
    for site, count in counts.items():
        groups[GROUPINGS[grouping](site)].append(count)
    names = list(groups)
    if grouping == "layer":
        names.sort(key=lambda name: math.inf if name == OUTSIDE else int(name))
    return {name: overlap_of(groups[name]) for name in names}


@dataclass(frozen=True)
class PairOverlap:
    """What two named subnetworks share."""

    first: str  # name of the first
    second: str  # name of the second
    whole: Overlap  # over all sites
    # over groups of sites, by grouping (`GROUPINGS`) and group
    by: Mapping[str, Mapping[str, Overlap]]

    def differing(self) -> dict[str, float]:
        """Return the paper's row: share of mask entries that differ, over all and by kind."""
        kinds = self.by["kind"]
        return {ALL: self.whole.differing} | {k: overlap.differing for k, overlap in kinds.items()}

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        groups = {
            f"by_{grouping}": {name: overlap.to_json() for name, overlap in groups.items()}
            for grouping, groups in self.by.items()
        }
        return {"first": self.first, "second": self.second, "all": self.whole.to_json(), **groups}


def pair_overlap(names: tuple[str, str], first: Subnetwork, second: Subnetwork) -> PairOverlap:
    """Return what two subnetworks share, over all sites and by kind, layer and projection."""
    counts = site_counts(first, second)
    by = {grouping: group_counts(counts, grouping) for grouping in GROUPINGS}
    return PairOverlap(*names, overlap_of(list(counts.values())), by)


def overlaps(subnetworks: Mapping[str, Subnetwork]) -> list[PairOverlap]:
    """Return the overlap of every pair, in the order of the names; there must be two or more."""
    if len(subnetworks) < 2:
        raise OptionError(f"an overlap needs at least two subnetworks; there is {len(subnetworks)}")
    return [
        pair_overlap((a, b), subnetworks[a], subnetworks[b])
        for a, b in itertools.combinations(subnetworks, 2)
    ]


def jaccard_matrix(names: Sequence[str], pairs: Sequence[PairOverlap]) -> list[list[float | None]]:
    """Return the Jaccard index of what every two prune, symmetric; the diagonal is None."""
    place = {name: index for index, name in enumerate(names)}
    rows: list[list[float | None]] = [[None] * len(names) for _ in names]
    for pair in pairs:
        a, b = place[pair.first], place[pair.second]
        rows[a][b] = rows[b][a] = pair.whole.jaccard_pruned
    return rows


@dataclass(frozen=True)
class Clustering:
    """A hierarchical clustering of personas."""

    names: list[str]  # the personas
    # jaccard distances between pruned sets, [personas, personas]; two empty masks are at distance 0
    distances: list[list[float]]
    # rows of scipy's linkage: the two clusters merged, their distance, their size. Clusters from
    # ``len(names)`` on are earlier merges.
    merges: list[tuple[int, int, float, int]]
    order: list[str]  # the names as a dendrogram shows its leaves

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self) | {"method": METHOD}


def cluster(names: Sequence[str], pairs: Sequence[PairOverlap]) -> Clustering:
    """Cluster two or more personas by average linkage over the Jaccard distance of pruned sets."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    similar = jaccard_matrix(names, pairs)
    distances = [[0.0 if x is None else 1.0 - x for x in row] for row in similar]
    merges = linkage(squareform(np.array(distances)), method=METHOD)
    return Clustering(
        list(names),
        distances,
        [(int(a), int(b), float(d), int(n)) for a, b, d, n in merges],
        [names[index] for index in leaves_list(merges)],
    )


def _variance(one: Counts) -> float:
    """Return the variance of the hypergeometric number that both prune."""
    n = one.total
    if n < 2:
        return 0.0
    return one.first * one.second * (n - one.first) * (n - one.second) / (n * n * (n - 1))


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None
