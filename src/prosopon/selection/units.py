"""Selecting whole units: MLP channels, attention heads, whatever the groups say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from prosopon.errors import OptionError
from prosopon.models.groups import Group
from prosopon.selection.patterns import Pattern
from prosopon.selection.ranking import kept_count

if TYPE_CHECKING:
    from torch import Tensor

SiteScores = tuple[str, "Tensor", "Tensor | None"]


def select_units(
    pattern: Pattern, scored: Iterable[SiteScores], sparsity: float, groups: Sequence[Group]
) -> dict[str, Tensor]:
    """Keep the units with the highest sums of scores, in each group on its own.

    Every group loses the same share, floor((1 - sparsity) units) are kept of it, so that equal
    layers stay equal and a model's config can still say how large they are.

    Args:
        pattern: Whose rule chooses in a group.
        scored: Name, scores and ties of every site, [out, in].
        sparsity: Share of units to prune.
        groups: The units; sites of no group are kept whole.

    Returns:
        Bool [out, in] for every site, on its scores' device.

    Raises:
        OptionError: There are no groups, or of another kind; a group's site has no scores; the
            sum of a unit's scores is not a number; or no unit of a group would be kept.
    """
    check_units(pattern, sparsity, groups)
    sums: dict[str, Tensor] = {}
    ties: dict[str, Tensor] = {}
    keep: dict[str, Tensor] = {}
    owners: dict[str, list[Group]] = {}
    for group in groups:
        for site in group.sites:
            owners.setdefault(site, []).append(group)
    for site, score, tie in scored:
        keep[site] = torch.ones(score.shape, dtype=torch.bool, device=score.device)
        for group in owners.get(site, ()):
            _add(sums, group, site, score)
            if tie is not None:
                _add(ties, group, site, tie)
    if absent := [site for site in owners if site not in keep]:
        raise OptionError(f"pattern {pattern.name!r} needs scores of site {absent[0]!r}")
    for group in groups:
        kept_units = _choose(pattern, group, sums, ties, sparsity)
        for site in group.sites:
            group.prune(site, keep[site], kept_units)
    return keep


def check_units(pattern: Pattern, sparsity: float, groups: Sequence[Group]) -> None:
    """Refuse groups that the pattern cannot choose from at this sparsity.

    Raises:
        OptionError: There are none, one is of another kind, or one would lose all its units.
    """
    if not groups:
        raise OptionError(f"pattern {pattern.name!r} needs the model's groups of {pattern.name}")
    for group in groups:
        if group.kind != pattern.name:
            raise OptionError(f"pattern {pattern.name!r} cannot choose from groups of {group.kind}")
        if kept_count(group.units, sparsity) < 1:
            highest = 1 - 1 / group.units
            remedy = f"at most {highest:.4g} is possible" if highest else "it cannot lose its only"
            raise OptionError(
                f"sparsity {sparsity} would leave none of the {group.units} {group.kind} of "
                f"{group.name!r}: {remedy}"
            )


def _add(sums: dict[str, Tensor], group: Group, site: str, values: Tensor) -> None:
    units = group.unit_sums(site, values)
    sums[group.name] = sums[group.name] + units if group.name in sums else units


def _choose(
    pattern: Pattern,
    group: Group,
    sums: dict[str, Tensor],
    ties: dict[str, Tensor],
    sparsity: float,
) -> Tensor:
    """Return which units of a group stay, bool [units]."""
    rows = [source[group.name].unsqueeze(0) for source in (sums, ties) if group.name in source]
    for row in rows:
        if torch.isnan(row).any():
            raise OptionError(
                f"{group.kind} of {group.name!r}: infinite scores of both signs have no sum"
            )
    second = {group.name: rows[1]} if len(rows) > 1 else None
    return pattern.rule({group.name: rows[0]}, sparsity, second)[group.name][0]
