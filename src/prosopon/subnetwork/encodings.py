"""Masks as the bytes of one safetensors file, and back.

There are two encodings: ``packed``, a bit a weight (:mod:`prosopon.subnetwork.format`), and
``gaps`` for light masks (:mod:`prosopon.subnetwork.gaps`). The first is read faster, so the
second is chosen only where it halves the bytes. A site S gives the tensor ``S.mask`` and, where
the pruned weights are ranked, ``S.levels``; format version 1 knew packed masks alone and called
the tensor ``S``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError

from prosopon.errors import SubnetworkError
from prosopon.subnetwork.config import SiteRecord, count_pruned
from prosopon.subnetwork.format import pack_rows, packed_width, unpack_rows
from prosopon.subnetwork.gaps import MAX_WEIGHTS, decode_gaps, encode_gaps, gaps_size

if TYPE_CHECKING:
    from torch import Tensor

Encoding = Literal["packed", "gaps"]

ENCODINGS: Final[tuple[Encoding, ...]] = ("packed", "gaps")
"""The names of the encodings."""

MASK, LEVELS = ".mask", ".levels"

_LIGHT = 0.25  # above this share of pruned weights the gaps of a random mask do not halve a thing


class Masks(NamedTuple):
    """Masks, bool [out, in] of every site, and their ranking, uint8 [pruned], if there is one."""

    keep: Mapping[str, Tensor]
    levels: dict[str, Tensor] | None


def choose_encoding(keep: Mapping[str, Tensor]) -> Encoding:
    """Return ``gaps`` where that takes at most half the bytes of ``packed``, else ``packed``."""
    total = sum(mask.numel() for mask in keep.values())
    if any(mask.numel() > MAX_WEIGHTS for mask in keep.values()):
        return "packed"
    if sum(count_pruned(mask) for mask in keep.values()) > _LIGHT * total:
        return "packed"
    packed = sum(mask.shape[0] * packed_width(mask.shape[1]) for mask in keep.values())
    gaps = sum(gaps_size(pruned_weights(mask), mask.numel()) for mask in keep.values())
    return "gaps" if 2 * gaps <= packed else "packed"


def pruned_weights(keep: Tensor) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the row-major numbers of the weights that a mask prunes, int64 [pruned]."""
    return np.flatnonzero(~keep.cpu().numpy())


def encode_masks(masks: Masks, encoding: Encoding) -> bytes:
    """Return masks and levels as the bytes of a safetensors file; equal masks, equal bytes."""
    from safetensors.torch import save

    tensors = {}
    for name, keep in masks.keep.items():
        if encoding == "packed":
            tensors[name + MASK] = pack_rows(keep)
        elif keep.numel() > MAX_WEIGHTS:
            raise SubnetworkError(f"site {name!r} has too many weights for gaps; use 'packed'")
        else:
            code = encode_gaps(pruned_weights(keep), (keep.shape[0], keep.shape[1]))
            tensors[name + MASK] = torch.from_numpy(code)
        if masks.levels is not None:
            tensors[name + LEVELS] = masks.levels[name].contiguous()
    return save(tensors)


def decode_masks(
    tensors: dict[str, Tensor],
    sites: Mapping[str, SiteRecord],
    encoding: Encoding,
    ranking: Mapping[str, SiteRecord] | None,
) -> Masks:
    """Undo :func:`encode_masks`; ``tensors`` are used up, masks come in the order of ``sites``.

    ``ranking`` are the sites whose pruned weights have levels; None where there are none. An error
    is half a sentence that wants to know which file it is about.
    """
    expected = {name + MASK for name in sites} | {name + LEVELS for name in ranking or ()}
    if odd := sorted(tensors.keys() ^ expected):
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        raise SubnetworkError(f"sites differ from those stated: {', '.join(odd[:5])}{more}")
    check_memory(sites)
    keep = {
        name: _mask(name, tensors.pop(name + MASK), record, encoding)
        for name, record in sites.items()
    }
    if ranking is None:
        return Masks(keep, None)
    levels = {name: tensors.pop(name + LEVELS) for name in ranking}
    for name, record in ranking.items():
        if levels[name].dtype != torch.uint8 or tuple(levels[name].shape) != (record.pruned,):
            raise SubnetworkError(
                f"site {name!r}: levels must be uint8 [{record.pruned}], one for every pruned "
                "weight"
            )
    return Masks(keep, levels)


def parse_tensors(content: bytes) -> dict[str, Tensor]:
    """Parse a safetensors file; the library checks the header against the length."""
    from safetensors.torch import load

    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SubnetworkError(f"not safetensors ({reason})") from None


def check_memory(sites: Mapping[str, SiteRecord]) -> None:
    """Refuse masks beyond this machine's memory, which a damaged shape could ask for."""
    needed = sum(record.total for record in sites.values())
    try:
        there = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return  # the system does not say
    if needed > there:
        raise SubnetworkError(
            f"the stated shapes need {needed / 1e9:,.1f} GB of masks, and this machine has "
            f"{there / 1e9:,.1f} GB of memory"
        )


def _mask(name: str, stored: Tensor, record: SiteRecord, encoding: Encoding) -> Tensor:
    """Decode one mask and compare it with what is stated of it."""
    try:
        keep = (_from_rows if encoding == "packed" else _from_gaps)(stored, record)
    except SubnetworkError as error:
        raise SubnetworkError(f"site {name!r}: {error}") from None
    if (pruned := count_pruned(keep)) != record.pruned:
        raise SubnetworkError(
            f"site {name!r} prunes {pruned} weights, not the {record.pruned} that are stated"
        )
    return keep


def _from_rows(stored: Tensor, record: SiteRecord) -> Tensor:
    rows, columns = record.shape
    if tuple(stored.shape) != (rows, packed_width(columns)):
        raise SubnetworkError(
            f"{list(stored.shape)} bytes are no mask of the stated shape [{rows}, {columns}]"
        )
    return unpack_rows(stored, columns)


def _from_gaps(stored: Tensor, record: SiteRecord) -> Tensor:
    if stored.dtype != torch.uint8 or stored.ndim != 1:
        kind = str(stored.dtype).removeprefix("torch.")
        raise SubnetworkError(f"gaps must be uint8 [bytes], not {kind} {list(stored.shape)}")
    pruned = decode_gaps(stored.numpy(), record.shape)  # refuses too large a shape
    keep = torch.ones(record.shape, dtype=torch.bool)
    keep.view(-1)[torch.from_numpy(pruned)] = False
    return keep
