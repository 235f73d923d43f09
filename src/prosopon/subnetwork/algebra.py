"""The algebra of subnetworks, over what they prune.

Every function speaks of sets of pruned weights: a union prunes what any of its operands prunes.
(A union of pruned weights is the intersection of kept ones.) The operands must belong to the
same model and have the same sites; they are not changed, and the result depends on nothing else.
Results have no compensation: new values of kept weights belong to the one mask they were made for.

Where all operands are ranked, so is a union, an intersection and a majority, and taking the
strength commutes with it::

    union(a, b).at_strength(s) == union(a.at_strength(s), b.at_strength(s))

Each is "at least m of the n operands prune it", with m of 1, n, and more than n / 2; so a weight
goes at the m-th lowest of its levels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch

from prosopon.errors import SubnetworkError
from prosopon.subnetwork.config import STEPS, CalibrationRecord, SubnetworkConfig
from prosopon.subnetwork.subnetwork import Subnetwork

if TYPE_CHECKING:
    from torch import Tensor


def union(first: Subnetwork, *others: Subnetwork, name: str | None = None) -> Subnetwork:
    """Prune what any operand prunes.

    Args:
        first: A subnetwork.
        *others: More of the same model and sites.
        name: What to call the result; default ``union(a, b)``.

    Raises:
        SubnetworkError: The operands belong to different models, or their sites differ.
    """
    return _at_least(1, "union", (first, *others), name)


def intersection(first: Subnetwork, *others: Subnetwork, name: str | None = None) -> Subnetwork:
    """Prune what all operands prune; arguments and errors as for :func:`union`."""
    return _at_least(1 + len(others), "intersection", (first, *others), name)


def majority(first: Subnetwork, *others: Subnetwork, name: str | None = None) -> Subnetwork:
    """Prune what more than half of the operands prune; a tie keeps the weight.

    Arguments and errors as for :func:`union`.
    """
    return _at_least((1 + len(others)) // 2 + 1, "majority", (first, *others), name)


def difference(first: Subnetwork, second: Subnetwork, *, name: str | None = None) -> Subnetwork:
    """Prune what ``first`` prunes and ``second`` does not; ranked as ``first`` is.

    Arguments and errors as for :func:`union`.
    """
    operands = (first, second)
    check_agree(operands)
    keep = {site: mask | ~second.keep[site] for site, mask in first.keep.items()}
    levels = first.levels and {
        site: ranked[second.keep[site][~first.keep[site]]] for site, ranked in first.levels.items()
    }
    return Subnetwork(keep, _config("difference", operands, name), levels)


def complement(operand: Subnetwork, *, name: str | None = None) -> Subnetwork:
    """Prune what ``operand`` keeps and keep what it prunes; never ranked."""
    keep = {site: ~mask for site, mask in operand.keep.items()}
    return Subnetwork(keep, _config("complement", (operand,), name))


def check_agree(operands: Sequence[Subnetwork]) -> None:
    """Refuse subnetworks of different weights or sites, naming the first two and what differs."""
    first = operands[0]
    for other in operands[1:]:
        pair = f"subnetworks {first.config.persona!r} and {other.config.persona!r}"
        if first.config.fingerprint != other.config.fingerprint:
            raise SubnetworkError(
                f"{pair} belong to different models: {first.config.base_model!r} and "
                f"{other.config.base_model!r} (their fingerprints differ)"
            )
        ours, theirs = _shapes(first), _shapes(other)
        if odd := sorted(site for site in ours | theirs if ours.get(site) != theirs.get(site)):
            more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
            raise SubnetworkError(f"{pair} have different sites: {', '.join(odd[:5])}{more}")


def vote(masks: Iterable[Tensor], least: int) -> Tensor:
    """Return the keep-mask, bool [out, in], that prunes what at least ``least`` masks prune."""
    return reduce(torch.add, ((~mask).to(torch.int32) for mask in masks)) < least


def _at_least(
    least: int, operation: str, operands: tuple[Subnetwork, ...], name: str | None
) -> Subnetwork:
    check_agree(operands)
    keep = {site: vote((one.keep[site] for one in operands), least) for site in operands[0].keep}
    levels = None
    if all(one.levels is not None for one in operands):
        levels = {site: _levels(operands, site, mask, least) for site, mask in keep.items()}
    return Subnetwork(keep, _config(operation, operands, name), levels)


def _levels(operands: tuple[Subnetwork, ...], site: str, keep: Tensor, least: int) -> Tensor:
    """Return the ``least``-th lowest level of every weight that the result prunes."""
    rows = []
    for one in operands:
        assert one.levels is not None
        full = torch.full(keep.shape, STEPS, dtype=torch.int16)  # what it keeps goes last
        full[~one.keep[site]] = one.levels[site].to(torch.int16)
        rows.append(full[~keep])
    return torch.stack(rows).sort(dim=0).values[least - 1].to(torch.uint8)


def _shapes(one: Subnetwork) -> dict[str, tuple[int, ...]]:
    return {site: tuple(mask.shape) for site, mask in one.keep.items()}


def _config(operation: str, operands: tuple[Subnetwork, ...], name: str | None) -> SubnetworkConfig:
    """Return the provenance of a result; its options name the operands and their hashes."""
    configs = [one.config for one in operands]
    first = configs[0]
    licences = list(dict.fromkeys(config.license for config in configs if config.license))
    changes: dict[str, Any] = {
        "persona": name or f"{operation}({', '.join(config.persona for config in configs)})",
        "opposite": None,
        "revision": _common([config.revision for config in configs], None),
        "criterion": operation,
        "options": {"operands": [_operand(one) for one in operands]},
        "pattern": "none",  # whatever counts the operands kept to, it need not
        "sparsity": None,
        "sites": {},
        "calibration": _calibration([config.calibration for config in configs]),
        "seed": _common([config.seed for config in configs], 0),
        "versions": _common([config.versions for config in configs], {}),
        "license": " and ".join(licences),
        "checksum": "",
        "created": "",
    }
    return first.model_copy(update=changes)


def _operand(one: Subnetwork) -> dict[str, Any]:
    """Return what tells an operand from others: names, how it was found, its content."""
    names = ("persona", "opposite", "criterion", "options", "sparsity")
    own = {name: getattr(one.config, name) for name in names}
    return own | {"content_hash": one.content_hash()}


def _calibration(records: list[CalibrationRecord]) -> CalibrationRecord:
    """Return the only record, or one of all: a hash of the hashes, sums of the counts."""
    if len(records) == 1:
        return records[0]
    hashes = json.dumps([[record.target_hash, record.opposite_hash] for record in records])
    prompts = [record.prompt_hashes for record in records]
    pooled = {name for names in prompts for name in names or ()}
    return CalibrationRecord(
        target_hash=hashlib.sha256(hashes.encode()).hexdigest(),
        target_count=sum(record.target_count for record in records),
        opposite_count=sum(record.opposite_count for record in records),
        general_count=sum(record.general_count for record in records),
        general=_common([record.general for record in records], None),
        scope=_common([record.scope for record in records], "mixed"),
        prompt_hashes=None if None in prompts else tuple(sorted(pooled)),
        rendering_date=_common([record.rendering_date for record in records], None),
    )


def _common(values: list[Any], otherwise: Any) -> Any:
    """Return the value that all share, or ``otherwise``."""
    return values[0] if all(value == values[0] for value in values) else otherwise
