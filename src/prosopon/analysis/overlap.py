"""How much subnetworks share: pruned and kept sets, cosines, and what chance alone would give."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from prosopon.errors import OptionError
from prosopon.models import layer_index, role
from prosopon.subnetwork import Subnetwork
from prosopon.subnetwork.algebra import check_agree

ALL = "all"
OUTSIDE = "-"
"""The group of sites outside the numbered layers."""

GROUPINGS: Mapping[str, Callable[[str], str]] = {
    "kind": role,
    "layer": lambda site: OUTSIDE if (layer := layer_index(site)) is None else str(layer),
    "projection": lambda site: site.rpartition(".")[2],
}
"""Ways to group sites, by name: what a site is part of, its layer, the matrix's own name."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many weights of some sites two masks prune.

    Attributes:
        total: Weights.
        first: Pruned by the first mask.
        second: Pruned by the second.
        both: Pruned by both.
    """

    total: int = 0
    first: int = 0
    second: int = 0
    both: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.total + other.total,
            self.first + other.first,
            self.second + other.second,
            self.both + other.both,
        )

    @property
    def differing(self) -> int:
        """Weights that one mask prunes and the other keeps."""
        return self.first + self.second - 2 * self.both


@dataclass(frozen=True, slots=True)
class Overlap:
    """What two masks share in some sites. A figure that has no meaning there is None.

    Chance is what two masks would share that prune as many weights of each site as these do,
    each at random places: site by site, the number that both prune is hypergeometric with the
    mean n1 n2 / N. The Jaccard index and the cosine of chance are those of that mean count.

    Attributes:
        total: Weights.
        pruned: How many the first and the second prune.
        both: How many both prune.
        jaccard_pruned: Of the pruned sets: both / either. None where neither prunes.
        jaccard_kept: Of the kept sets; None where nothing is kept.
        differing: Share of mask entries that differ.
        cosine_pruned: Cosine between the indicators of the pruned sets; None where one is empty.
        cosine_kept: Cosine between the masks as the paper takes them, 1 where kept.
        expected_both: Expected number that both prune, by chance.
        expected_jaccard_pruned: Of that number.
        expected_differing: Likewise.
        expected_cosine_pruned: Likewise.
        z: How many standard deviations ``both`` lies above chance; None where chance leaves no
            choice (a mask that prunes none or all of every site).
    """

    total: int
    pruned: tuple[int, int]
    both: int
    jaccard_pruned: float | None
    jaccard_kept: float | None
    differing: float
    cosine_pruned: float | None
    cosine_kept: float | None
    expected_both: float
    expected_jaccard_pruned: float | None
    expected_differing: float
    expected_cosine_pruned: float | None
    z: float | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self) | {"pruned": list(self.pruned)}


def site_counts(first: Subnetwork, second: Subnetwork) -> dict[str, Counts]:
    """Return the counts of every site, reading one site at a time.

    Raises:
        SubnetworkError: The two belong to different models, or their sites differ.
    """
    check_agree((first, second))
    counts = {}
    for site, ours in first.keep.items():
        mine, theirs = ~ours.numpy(), ~second.keep[site].numpy()
        counts[site] = Counts(
            mine.size,
            int(np.count_nonzero(mine)),
            int(np.count_nonzero(theirs)),
            int(np.count_nonzero(mine & theirs)),
        )
    return counts


def overlap_of(counts: Sequence[Counts]) -> Overlap:
    """Return the overlap over some sites.

    Args:
        counts: One for each site; chance keeps the sizes of every one of them.

    Raises:
        OptionError: There is no site.
    """
    if not counts:
        raise OptionError("an overlap needs at least one site")
    whole = sum(counts, Counts())
    expected = sum(count.first * count.second / count.total for count in counts)
    variance = sum(_variance(count) for count in counts)
    kept_first, kept_second = whole.total - whole.first, whole.total - whole.second
    kept_both = whole.total - whole.first - whole.second + whole.both
    sizes = whole.first + whole.second
    return Overlap(
        total=whole.total,
        pruned=(whole.first, whole.second),
        both=whole.both,
        jaccard_pruned=_ratio(whole.both, sizes - whole.both),
        jaccard_kept=_ratio(kept_both, whole.total - whole.both),
        differing=whole.differing / whole.total,
        cosine_pruned=_ratio(whole.both, math.sqrt(whole.first * whole.second)),
        cosine_kept=_ratio(kept_both, math.sqrt(kept_first * kept_second)),
        expected_both=expected,
        expected_jaccard_pruned=_ratio(expected, sizes - expected),
        expected_differing=(sizes - 2 * expected) / whole.total,
        expected_cosine_pruned=_ratio(expected, math.sqrt(whole.first * whole.second)),
        z=_ratio(whole.both - expected, math.sqrt(variance)),
    )


def grouped(counts: Mapping[str, Counts], grouping: str) -> dict[str, Overlap]:
    """Return the overlap of every group of sites; layers by number, others in order.

    Args:
        counts: Of every site.
        grouping: A key of `GROUPINGS`.

    Raises:
        OptionError: No such grouping.
    """
    if grouping not in GROUPINGS:
        raise OptionError(f"unknown grouping {grouping!r}. Choices: {', '.join(GROUPINGS)}")
    groups: dict[str, list[Counts]] = defaultdict(list)
    for site, count in counts.items():
        groups[GROUPINGS[grouping](site)].append(count)
    names = sorted(groups, key=_by_number) if grouping == "layer" else list(groups)
    return {name: overlap_of(groups[name]) for name in names}


@dataclass(frozen=True)
class PairOverlap:
    """What two named subnetworks share.

    Attributes:
        first: Name of the first.
        second: Name of the second.
        whole: Over all sites.
        by: Over groups of sites, by grouping (`GROUPINGS`) and group.
    """

    first: str
    second: str
    whole: Overlap
    by: Mapping[str, Mapping[str, Overlap]]

    def differing(self) -> dict[str, float]:
        """Return the paper's row: share of mask entries that differ, over all and by kind."""
        kinds = self.by["kind"]
        return {ALL: self.whole.differing} | {k: overlap.differing for k, overlap in kinds.items()}

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        groups = {
            grouping: {name: overlap.to_json() for name, overlap in groups.items()}
            for grouping, groups in self.by.items()
        }
        return {
            "first": self.first,
            "second": self.second,
            "all": self.whole.to_json(),
            **{f"by_{grouping}": overlap for grouping, overlap in groups.items()},
        }


def pair_overlap(names: tuple[str, str], first: Subnetwork, second: Subnetwork) -> PairOverlap:
    """Return what two subnetworks share, over all sites and by kind, layer and projection.

    Raises:
        SubnetworkError: The two belong to different models, or their sites differ.
    """
    counts = site_counts(first, second)
    by = {grouping: grouped(counts, grouping) for grouping in GROUPINGS}
    return PairOverlap(*names, overlap_of(list(counts.values())), by)


def overlaps(subnetworks: Mapping[str, Subnetwork]) -> list[PairOverlap]:
    """Return the overlap of every pair, in the order of the names.

    Raises:
        OptionError: There are fewer than two.
        SubnetworkError: Two belong to different models, or their sites differ.
    """
    if len(subnetworks) < 2:
        raise OptionError(f"an overlap needs at least two subnetworks; there is {len(subnetworks)}")
    return [
        pair_overlap((a, b), subnetworks[a], subnetworks[b])
        for a, b in itertools.combinations(subnetworks, 2)
    ]


def matrix(
    names: Sequence[str], pairs: Sequence[PairOverlap], value: Callable[[Overlap], float | None]
) -> list[list[float | None]]:
    """Return a symmetric matrix of a figure of every pair; the diagonal is None."""
    place = {name: index for index, name in enumerate(names)}
    rows: list[list[float | None]] = [[None] * len(names) for _ in names]
    for pair in pairs:
        a, b = place[pair.first], place[pair.second]
        rows[a][b] = rows[b][a] = value(pair.whole)
    return rows


def _variance(one: Counts) -> float:
    """Return the variance of the hypergeometric number that both prune."""
    n = one.total
    if n < 2:
        return 0.0
    return one.first * one.second * (n - one.first) * (n - one.second) / (n * n * (n - 1))


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None


def _by_number(name: str) -> tuple[bool, int]:
    return (False, int(name)) if name.isdecimal() else (True, 0)
