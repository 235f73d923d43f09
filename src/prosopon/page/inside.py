"""Where a mask lies, by layer and part, and what it shares with the other masks of a server."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from prosopon.analysis.overlap import overlap_of, site_counts
from prosopon.errors import ProsoponError
from prosopon.models import layer_index, projection

if TYPE_CHECKING:
    from prosopon.serving.service import Service
    from prosopon.subnetwork import SubnetworkConfig


class Heat(NamedTuple):
    """A mask by part and layer."""

    parts: list[str]  # names of matrices, such as q_proj, as the model has them
    layers: list[int | None]  # None for what lies outside the layers, last
    # pruned weights over those that the mask's overall share would prune there, [parts, layers];
    # None where there is no such matrix
    values: list[list[float | None]]


class Shared(NamedTuple):
    """What a mask shares with another one."""

    name: str  # of the other
    share: float  # of this mask's pruned weights, which the other prunes too
    chance: float  # what that would be if both lay at random places of every matrix
    problem: str = ""  # why it is not known


def heat(config: SubnetworkConfig) -> Heat:
    """Return where a mask lies; all zero for one that prunes nothing."""
    counts: dict[tuple[str, float], list[int]] = defaultdict(lambda: [0, 0])
    for site, record in config.sites.items():
        layer = layer_index(site)
        cell = counts[projection(site), math.inf if layer is None else layer]
        cell[0] += record.pruned
        cell[1] += record.total
    parts = list(dict.fromkeys(part for part, _ in counts))
    layers = sorted({layer for _, layer in counts})
    pruned, total = (sum(column) for column in zip(*counts.values(), strict=True))
    overall = pruned / total or 1.0
    values = [
        [
            counts[part, layer][0] / counts[part, layer][1] / overall
            if (part, layer) in counts
            else None
            for layer in layers
        ]
        for part in parts
    ]
    return Heat(parts, [None if math.isinf(layer) else int(layer) for layer in layers], values)


def shared(service: Service, name: str) -> list[Shared]:
    """Return what a persona's mask shares with every other one, the most first.

    Raises:
        ProsoponError: Its own mask cannot be read; that of another one is told in its row.
    """
    own, rows = service.mask(name), []
    for other in service.personas:
        if other == name:
            continue
        try:
            both = overlap_of(list(site_counts(own, service.mask(other)).values()))
            most = max(1, both.pruned[0])
            rows.append(Shared(other, both.both / most, both.expected_both / most))
        except ProsoponError as problem:
            rows.append(Shared(other, 0.0, 0.0, str(problem)))
    return sorted(rows, key=lambda row: -row.share)
