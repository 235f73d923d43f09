"""Parts of a mask and its controls: what is worn to test a mask as an explanation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prosopon.errors import OptionError
from prosopon.models import Site, layer_index
from prosopon.subnetwork import Subnetwork
from prosopon.subnetwork.algebra import check_agree

STEPS = 256  # levels of a ranking
JITTER = 8
"""Standard deviation, in ranks, of how far a size-matched weight may lie from its model."""


def only(subnetwork: Subnetwork, wanted: Callable[[str], bool]) -> Subnetwork:
    """Return the part of a mask that lies in the wanted sites; the others are kept whole.

    Args:
        subnetwork: The mask.
        wanted: Tells for a site's name whether its pruned weights stay pruned.
    """
    keep = {
        site: mask if wanted(site) else torch.ones_like(mask)
        for site, mask in subnetwork.keep.items()
    }
    return _like(subnetwork, keep)


def in_layers(first: int, last: int) -> Callable[[str], bool]:
    """Return a test of a site's name: does it lie in the layers from first to last, both in?"""

    def wanted(site: str) -> bool:
        layer = layer_index(site)
        return layer is not None and first <= layer <= last

    return wanted


def swapped(subnetwork: Subnetwork, other: Subnetwork, wanted: Callable[[str], bool]) -> Subnetwork:
    """Return the mask with the wanted sites of another one in place of its own.

    Raises:
        SubnetworkError: The two belong to different models, or their sites differ.
    """
    check_agree((subnetwork, other))
    keep = {
        site: other.keep[site] if wanted(site) else mask for site, mask in subnetwork.keep.items()
    }
    return _like(subnetwork, keep)


def elsewhere(subnetwork: Subnetwork, *, seed: int) -> Subnetwork:
    """Return a mask that prunes as many weights of each site, drawn from those that it keeps.

    Raises:
        OptionError: A site keeps fewer weights than it prunes.
    """

    def draw(site: str, pruned: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
        free = np.flatnonzero(~pruned)
        return rng.choice(free, size=int(pruned.sum()), replace=False)

    return _drawn(subnetwork, draw, seed)


def elsewhere_alike(subnetwork: Subnetwork, sites: Mapping[str, Site], *, seed: int) -> Subnetwork:
    """Return a mask of as many other weights of each site that are of the same size.

    Each pruned weight is replaced by a kept one whose absolute value has about the same rank, so
    that what the two masks differ in is which weights they prune and not how large these are.

    Args:
        subnetwork: The mask.
        sites: Sites of the base model by name.
        seed: Seeds the draw.

    Raises:
        OptionError: A site keeps fewer weights than it prunes.
    """

    def draw(site: str, pruned: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
        size = sites[site].matrix().abs().float().cpu().numpy().ravel()
        free = np.flatnonzero(~pruned)
        free = free[np.argsort(size[free], kind="stable")]
        wanted = np.searchsorted(size[free], np.sort(size[pruned]))
        wanted = np.sort(wanted + rng.normal(0, JITTER, len(wanted)).round().astype(np.int64))
        return free[_distinct(wanted, len(free))]

    return _drawn(subnetwork, draw, seed)


def mean_size(subnetwork: Subnetwork, sites: Mapping[str, Site]) -> float | None:
    """Return the mean absolute value of what a mask prunes; None where it prunes nothing."""
    if not subnetwork.pruned:
        return None
    total = sum(
        float(sites[site].matrix().cpu().double().abs()[~mask].sum())
        for site, mask in subnetwork.keep.items()
    )
    return total / subnetwork.pruned


def prefix(
    subnetwork: Subnetwork, share: float, *, ranked: bool = True, seed: int = 0
) -> Subnetwork:
    """Return a share of a mask's pruned weights, the first of its ranking or any.

    For one seed the masks of growing shares are nested. Weights of one level come in random
    order, so that any share can be had, not only those that a strength reaches; each site's part
    is right up to the chance of that order.

    Args:
        subnetwork: The mask.
        share: From 0 (nothing is pruned) to 1 (all of it).
        ranked: In the order of the ranking; False in random order.
        seed: Seeds the order.

    Raises:
        OptionError: The mask has no ranking, or ``share`` is outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise OptionError(f"share {share}: must lie between 0 and 1")
    if ranked and subnetwork.levels is None:
        raise OptionError(f"subnetwork {subnetwork.config.persona!r} has no ranking")
    level, part = _threshold(subnetwork, share) if ranked else (0, share)
    rng = np.random.default_rng(seed)
    keep = {}
    for site, mask in subnetwork.keep.items():
        rows, columns = np.nonzero(~mask.numpy())
        goes, last = np.zeros(len(rows), dtype=bool), np.arange(len(rows))
        order = rng.permutation(len(rows))
        if ranked:
            assert subnetwork.levels is not None
            levels = subnetwork.levels[site].numpy()
            goes, last = levels < level, np.flatnonzero(levels == level)
        # In random order; the draw in [0, 1) makes the expected count exact.
        places = order[last].argsort().argsort() + rng.random()
        goes[last[places < part * len(last)]] = True
        weaker = np.ones(mask.shape, dtype=bool)
        weaker[rows[goes], columns[goes]] = False
        keep[site] = torch.from_numpy(weaker)
    return _like(subnetwork, keep)


def layer_ranges(subnetwork: Subnetwork, parts: int) -> list[tuple[int, int]]:
    """Return up to ``parts`` ranges (first, last) that split the layers that a mask has sites in.

    Raises:
        OptionError: ``parts`` is less than 1.
    """
    if parts < 1:
        raise OptionError(f"parts {parts}: split the layers into at least one")
    layers_there = {layer_index(site) for site in subnetwork.sites}
    layers = np.array(sorted(layer for layer in layers_there if layer is not None))
    split = np.array_split(layers, min(parts, len(layers))) if len(layers) else []
    return [(int(part[0]), int(part[-1])) for part in split]


def _threshold(subnetwork: Subnetwork, share: float) -> tuple[int, float]:
    """Return (level, part): all lower levels go, and this part of the level itself."""
    assert subnetwork.levels is not None
    counts = np.zeros(STEPS, dtype=np.int64)
    for levels in subnetwork.levels.values():
        counts += np.bincount(levels.numpy(), minlength=STEPS)
    wanted, before = share * counts.sum(), 0
    for level, count in enumerate(counts):
        if before + count >= wanted:
            return level, (wanted - before) / count if count else 0.0
        before += int(count)
    return STEPS, 0.0


def _distinct(wanted: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return ascending places as near to ``wanted`` (ascending) as going up and then down finds.

    Each place is used once, and all lie in [0, count).
    """
    steps = np.arange(len(wanted))
    upward: NDArray[np.int64] = np.maximum.accumulate(np.maximum(wanted, 0) - steps) + steps
    limit = count - len(wanted) + steps
    return np.minimum(upward, limit)


def _drawn(
    subnetwork: Subnetwork,
    draw: Callable[[str, NDArray[np.bool_], np.random.Generator], NDArray[np.int64]],
    seed: int,
) -> Subnetwork:
    rng = np.random.default_rng(seed)
    keep = {}
    for site, mask in subnetwork.keep.items():
        pruned = ~mask.numpy().ravel()
        if 2 * int(pruned.sum()) > pruned.size:
            raise OptionError(
                f"site {site!r} prunes {int(pruned.sum())} of {pruned.size} weights; as many "
                "others are not left to draw from"
            )
        drawn = np.ones(pruned.size, dtype=bool)
        drawn[draw(site, pruned, rng)] = False
        keep[site] = torch.from_numpy(drawn.reshape(tuple(mask.shape)))
    return _like(subnetwork, keep)


def _like(subnetwork: Subnetwork, keep: Mapping[str, Tensor]) -> Subnetwork:
    changes: dict[str, Any] = {"sites": {}, "checksum": "", "opposite": None}
    return Subnetwork(keep, subnetwork.config.model_copy(update=changes))
