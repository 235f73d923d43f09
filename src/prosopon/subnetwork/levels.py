"""The ranking of pruned weights: one mask that serves every strength.

Each pruned weight has a level from 0 to 255; a weight of level l is pruned at every strength
above l / 256. Level 0 goes first, and at strength 1 all are pruned, so masks of growing
strength are nested.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

STEPS = 256
"""How many strengths differ."""


def prefix(
    keep: Mapping[str, Tensor], levels: Mapping[str, Tensor], strength: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Keep, besides what ``keep`` keeps, the weights that are not pruned at ``strength``.

    Args:
        keep: Bool [out, in] of every site.
        levels: Uint8 [pruned] of every site, in row-major order of its pruned weights.
        strength: From 0 (nothing is pruned) to 1 (all of it).

    Returns:
        The masks, and the levels of what they still prune.
    """
    masks, remaining = {}, {}
    for name, mask in keep.items():
        pruned = levels[name].double() / STEPS < strength
        rows, columns = (~mask).nonzero(as_tuple=True)
        weaker = mask.clone()
        weaker[rows, columns] = ~pruned
        masks[name], remaining[name] = weaker, levels[name][pruned]
    return masks, remaining


def spread(keep: Tensor, levels: Tensor) -> Tensor:
    """Return the level of every weight, int16 [out, in]; `STEPS` where it is kept."""
    full = torch.full(keep.shape, STEPS, dtype=torch.int16)
    full[~keep] = levels.to(torch.int16)
    return full
