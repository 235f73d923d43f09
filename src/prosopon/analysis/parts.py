"""Parts of a mask and its controls: what is worn to test a mask as an explanation."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from prosopon.errors import OptionError
from prosopon.models import Site, layer_index
from prosopon.subnetwork import Subnetwork
from prosopon.subnetwork.algebra import check_agree

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 256  # levels of a ranking
JITTER = 8
"""Standard deviation, in ranks, of how far a size-matched weight may lie from its model."""


def only(subnetwork: Subnetwork, sites: Collection[str]) -> Subnetwork:
    """Return the part of a mask that lies in some sites; the others are kept whole."""
    keep = {
        site: mask if site in sites else torch.ones_like(mask)
        for site, mask in subnetwork.keep.items()
    }
    return _like(subnetwork, keep)


def in_layers(subnetwork: Subnetwork, first: int, last: int) -> list[str]:
    """Return a mask's sites in the layers from first to last, both included."""
    layers = range(first, last + 1)
    return [site for site in subnetwork.sites if layer_index(site) in layers]


def swap(subnetwork: Subnetwork, other: Subnetwork, sites: Collection[str]) -> Subnetwork:
    """Return the mask with some sites of another one, of the same model, in place of its own."""
    check_agree((subnetwork, other))
    keep = {
        site: other.keep[site] if site in sites else mask for site, mask in subnetwork.keep.items()
    }
    return _like(subnetwork, keep)


def elsewhere(
    subnetwork: Subnetwork, sites: Mapping[str, Site] | None = None, *, seed: int
) -> Subnetwork:
    """Return a mask that prunes as many weights of each site, drawn from those that it keeps.

    With ``sites``, those of the base model by name, each pruned weight is replaced by a kept one
    whose absolute value has about the same rank: then the two masks differ in which weights they
    prune and not in how large these are. A site must keep as many weights as it prunes.
    """
    rng = np.random.default_rng(seed)
    keep = {}
    for site, mask in subnetwork.keep.items():
        pruned = ~mask.numpy().ravel()
        count, free = int(pruned.sum()), np.flatnonzero(~pruned)
        if count > len(free):
            raise OptionError(
                f"site {site!r} prunes {count} of {pruned.size} weights; as many others are not "
                "left to draw from"
            )
        drawn = np.ones(pruned.size, dtype=bool)
        if sites is None:
            drawn[rng.choice(free, size=count, replace=False)] = False
        else:
            size = sites[site].matrix().abs().float().cpu().numpy().ravel()
            free = free[np.argsort(size[free], kind="stable")]
            wanted = np.searchsorted(size[free], np.sort(size[pruned]))
            wanted = np.sort(wanted + rng.normal(0, JITTER, count).round().astype(np.int64))
            drawn[free[_distinct(wanted, len(free))]] = False
        keep[site] = torch.from_numpy(drawn.reshape(tuple(mask.shape)))
    return _like(subnetwork, keep)


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
    is right up to the chance of that order. Without ``ranked`` the whole order is random.
    """
    if not 0 <= share <= 1:
        raise OptionError(f"share {share}: must lie between 0 and 1")
    if ranked and subnetwork.levels is None:
        raise OptionError(f"subnetwork {subnetwork.config.persona!r} has no ranking")
    levels = {
        site: (
            subnetwork.levels[site].numpy() if ranked and subnetwork.levels is not None
            else np.zeros(int((~mask).sum()), dtype=np.uint8)
        )
        for site, mask in subnetwork.keep.items()
    }  # fmt: skip
    level, part = _threshold(levels, share)
    rng = np.random.default_rng(seed)
    keep = {}
    for site, mask in subnetwork.keep.items():
        rows, columns = np.nonzero(~mask.numpy())
        order = rng.permutation(len(rows))
        goes, last = levels[site] < level, np.flatnonzero(levels[site] == level)
        # In random order; the draw in [0, 1) makes the expected count exact.
        places = order[last].argsort().argsort() + rng.random()
        goes[last[places < part * len(last)]] = True
        weaker = np.ones(mask.shape, dtype=bool)
        weaker[rows[goes], columns[goes]] = False
        keep[site] = torch.from_numpy(weaker)
    return _like(subnetwork, keep)


def layer_ranges(subnetwork: Subnetwork, parts: int) -> list[tuple[int, int]]:
    """Return up to ``parts`` ranges (first, last) that split the layers of a mask's sites."""
    if parts < 1:
        raise OptionError(f"parts {parts}: split the layers into at least one")
    layers_there = {layer_index(site) for site in subnetwork.sites}
    layers = np.array(sorted(layer for layer in layers_there if layer is not None))
    split = np.array_split(layers, min(parts, len(layers))) if len(layers) else []
    return [(int(part[0]), int(part[-1])) for part in split]


def _threshold(levels: Mapping[str, NDArray[np.uint8]], share: float) -> tuple[int, float]:
    """Return (level, part): all lower levels go, and this part of the level itself."""
    counts = np.bincount(np.concatenate(list(levels.values())), minlength=STEPS)
    wanted, until = share * counts.sum(), counts.cumsum()
    level = int(np.argmax(until >= wanted))
    missing = wanted - (until[level] - counts[level])
    return level, float(missing / counts[level]) if counts[level] else 0.0


def _distinct(wanted: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return ascending places in [0, count), each once, near to ``wanted``: going up, then down."""
    steps = np.arange(len(wanted))
    upward: NDArray[np.int64] = np.maximum.accumulate(np.maximum(wanted, 0) - steps) + steps
    limit = count - len(wanted) + steps
    return np.minimum(upward, limit)


def _like(subnetwork: Subnetwork, keep: "Mapping[str, Tensor]") -> Subnetwork:
    changes: dict[str, Any] = {"sites": {}, "checksum": "", "opposite": None}
    return Subnetwork(keep, subnetwork.config.model_copy(update=changes))
