"""Where the pruned weights sit: layers and kinds against chance, and how few channels hold them."""

import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prosopon.errors import OptionError
from prosopon.models import layer_index, role
from prosopon.subnetwork import Subnetwork

TOP = 0.1
"""Share of the channels of every site that count as its top ones."""

DRAWS = 50
"""Random masks that chance is estimated from."""

LISTED = 10


@dataclass(frozen=True, slots=True)
class Place:
    """Pruned weights of one kind in one layer."""

    layer: int | None  # number of the layer; None outside the layers
    kind: str  # ``attention``, ``mlp`` or ``other``
    pruned: int  # how many are pruned
    total: int  # of how many weights
    expected: float  # how many chance would put there: the mask's overall share of ``total``

    @property
    def enrichment(self) -> float | None:
        """Pruned over expected: 1 is chance. None where nothing is pruned at all."""
        return self.pruned / self.expected if self.expected else None


@dataclass(frozen=True, slots=True)
class Concentration:
    """How much of what is pruned sits in few channels of every site."""

    top: float  # share of all pruned weights that lie in the top tenth of their site's channels
    chance: float  # the same for random masks that prune as many weights of each site: mean
    chance_high: float  # their 97.5th percentile


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a site: of its ``total`` weights so many are pruned.

    ``axis`` is ``input`` (a column) or ``output`` (a row).
    """

    site: str
    axis: str
    index: int
    pruned: int
    total: int


@dataclass(frozen=True)
class Location:
    """Where a mask prunes."""

    cells: tuple[Place, ...]  # by layer and kind, layers ascending, what lies outside them last
    inputs: Concentration | None  # concentration over input channels; None where nothing is pruned
    outputs: Concentration | None  # over output rows
    # the input channels and output rows with the largest pruned share
    channels: tuple[Channel, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        cells = [asdict(cell) | {"enrichment": cell.enrichment} for cell in self.cells]
        return asdict(self) | {"cells": cells, "top_share_of_channels": TOP}


def locate(subnetwork: Subnetwork, *, draws: int = DRAWS, seed: int = 0) -> Location:
    """Return where a subnetwork's pruned weights sit; ``draws`` random masks say what chance is."""
    if draws < 1:
        raise OptionError(f"draws {draws}: chance needs at least one random mask")
    inputs, outputs, channels = [], [], []
    for site, mask in subnetwork.keep.items():
        pruned = ~mask.numpy()
        columns, rows = pruned.sum(axis=0), pruned.sum(axis=1)
        inputs.append((columns, len(rows)))
        outputs.append((rows, len(columns)))
        channels += _largest(site, "input", columns, len(rows))
        channels += _largest(site, "output", rows, len(columns))
    channels.sort(key=lambda c: (-c.pruned / c.total, c.site, c.axis, c.index))
    return Location(
        _cells(subnetwork),
        _concentration(inputs, draws, seed),
        _concentration(outputs, draws, seed),
        tuple(channels[:LISTED]),
    )


def _cells(subnetwork: Subnetwork) -> tuple[Place, ...]:
    """Return the pruned weights by layer and kind."""
    counts: dict[tuple[float, str], list[int]] = defaultdict(lambda: [0, 0])
    for site, record in subnetwork.config.sites.items():
        layer = layer_index(site)
        cell = counts[math.inf if layer is None else layer, role(site)]
        cell[0] += record.pruned
        cell[1] += record.total
    share = subnetwork.pruned_share
    return tuple(
        Place(None if math.isinf(layer) else int(layer), kind, pruned, total, share * total)
        for (layer, kind), (pruned, total) in sorted(counts.items())
    )


def _largest(site: str, axis: str, counts: NDArray[np.int64], size: int) -> list[Channel]:
    """Return the channels of one site that lose most."""
    order = np.argsort(-counts, kind="stable")[:LISTED]
    return [Channel(site, axis, int(i), int(counts[i]), size) for i in order if counts[i]]


def _concentration(
    sites: list[tuple[NDArray[np.int64], int]], draws: int, seed: int
) -> Concentration | None:
    """Return the concentration over channels, given their counts and their size, site by site."""
    total = sum(int(counts.sum()) for counts, _ in sites)
    if not total:
        return None
    rng = np.random.default_rng(seed)
    in_top, chance = 0, np.zeros(draws)
    for counts, size in sites:
        top = max(1, round(TOP * len(counts)))
        in_top += int(_top(counts, top))
        # As many pruned weights at random places of the matrix, counted by channel.
        drawn = rng.multivariate_hypergeometric(
            np.full(len(counts), size), int(counts.sum()), size=draws, method="marginals"
        )
        chance += _top(drawn, top)
    high = np.quantile(chance, 0.975)
    return Concentration(in_top / total, float(chance.mean()) / total, float(high) / total)


def _top(counts: NDArray[np.int64], top: int) -> Any:
    """Return the sum of the ``top`` largest counts along the last axis."""
    return np.partition(counts, -top, axis=-1)[..., -top:].sum(axis=-1)
