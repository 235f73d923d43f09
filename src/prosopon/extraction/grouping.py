"""What a selection pattern needs of a model, found before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from prosopon.groups import Group
from prosopon.models import Site, find_groups
from prosopon.selection import check_units, find_pattern


def groups_for(
    pattern: str, sparsity: float, model: nn.Module, sites: Sequence[Site]
) -> list[Group]:
    """Return the groups that a pattern chooses among; none for patterns of single weights.

    Args:
        pattern: Name of the pattern.
        sparsity: Share of weights or units to prune.
        model: The model.
        sites: The sites in use.

    Raises:
        UnknownNameError: No such pattern.
        OptionError: The sites' shapes do not suit the pattern, or a group would lose all units.
        SiteError: Channels or heads cannot be told apart in this model.
    """
    chosen = find_pattern(pattern)
    for site in sites:
        chosen.check_shape(site.name, site.shape)
    if chosen.among != "units":
        return []
    groups = find_groups(model, sites, chosen.name)
    check_units(chosen, sparsity, groups)
    return groups
