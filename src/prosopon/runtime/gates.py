"""Which gate every weight of a site gets, and where two looks differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from prosopon.runtime.looks import Look
from prosopon.runtime.positions import Positions, is_among, symmetric_difference, union
from prosopon.subnetwork import STEPS

Gates = float | Tensor
"""One gate for all, or float64 [n], one for each."""


class Mask(NamedTuple):
    """The weights of one site that a persona prunes."""

    positions: Positions
    levels: Tensor | None = None  # their ranking, uint8, in the order of the positions

    def prefix(self, steps: int) -> Tensor:
        """Return the positions of the levels below ``steps``: int64, ascending."""
        indices = self.positions.indices()
        if steps >= STEPS or self.levels is None:
            return indices
        return indices[self.levels < steps]

    def to(self, device: torch.device) -> Mask:
        """Return the mask on another device."""
        levels = None if self.levels is None else self.levels.to(device)
        return Mask(self.positions.to(device), levels)


class Gating:
    """The gates of one site: 1 everywhere but at some positions.

    Args:
        total: Weights of the site.
        indices: Where, int64 and ascending; a set where that is at hand already.
        gates: What the weights there are multiplied by.
    """

    def __init__(self, total: int, indices: Tensor | Positions, gates: Gates) -> None:
        self.total, self.gates, self._where = total, gates, indices

    def __len__(self) -> int:
        return len(self._where)

    @property
    def positions(self) -> Positions | None:
        """The positions as a set, if they are one."""
        return self._where if isinstance(self._where, Positions) else None

    def indices(self) -> Tensor:
        """Return the positions: int64, ascending."""
        return self._where.indices() if isinstance(self._where, Positions) else self._where

    def at(self, indices: Tensor) -> Tensor:
        """Return the gates of any int64 positions: float64, 1 where none is set."""
        if isinstance(self._where, Positions):
            inside = self._where.contains(indices)
        else:
            inside = is_among(self._where, indices)
        result = torch.ones(len(indices), dtype=torch.float64, device=indices.device)
        if isinstance(self.gates, Tensor):
            result[inside] = self.gates[torch.searchsorted(self.indices(), indices[inside])]
        else:
            result[inside] = self.gates
        return result


def combine(parts: Sequence[tuple[Mask, int, float]]) -> Gating:
    """Multiply the gates of at least one (mask, steps, gate) of a site, in this order."""
    total = parts[0][0].positions.total
    first, steps, gate = parts[0]
    if len(parts) == 1:
        return Gating(total, first.positions if steps >= STEPS else first.prefix(steps), gate)
    listed = [mask.prefix(steps) for mask, steps, _ in parts]
    indices = listed[0]
    for other in listed[1:]:
        indices = union(indices, other, total)
    if not any(gate for _, _, gate in parts):
        return Gating(total, indices, 0.0)
    gates = torch.ones(len(indices), dtype=torch.float64, device=indices.device)
    for inside, (_, _, gate) in zip(listed, parts, strict=True):
        gates[torch.searchsorted(indices, inside)] *= gate
    return Gating(total, indices, gates)


def gating_of(personas: Mapping[str, Mapping[str, Mask]], look: Look, site: str) -> Gating | None:
    """Return the gates that a look gives a site, of personas' masks by name; None for none."""
    masks = [(personas[part.name].get(site), part) for part in look]
    parts = [(mask, part.steps, part.gate) for mask, part in masks if mask and mask.positions]
    return combine(parts) if parts else None


class Change(NamedTuple):
    """Where two gatings differ, and the gates there: int64 [n], ascending, and two Gates."""

    indices: Tensor
    before: Gates
    after: Gates


def compare(before: Gating | None, after: Gating | None) -> Change:
    """Return where the gates of two gatings of a site, not both None, differ.

    None is no gate at all.
    """
    if before is None:
        assert after is not None
        return Change(after.indices(), 1.0, after.gates)
    if after is None:
        return Change(before.indices(), before.gates, 1.0)
    one, other = before.positions, after.positions
    if one is not None and other is not None and before.gates == after.gates:
        indices = symmetric_difference(one, other)
        return Change(indices, before.at(indices), after.at(indices))
    indices = union(before.indices(), after.indices(), before.total)
    old, new = before.at(indices), after.at(indices)
    differ = old != new
    return Change(indices[differ], old[differ], new[differ])


def apply_gates(values: Tensor, gates: Gates) -> Tensor:
    """Multiply weights by gates: in float32 at least, rounded once to their own dtype.

    A gate of exactly 1 leaves the bits alone, whatever the processor does with tiny numbers.
    """
    wide = torch.promote_types(values.dtype, torch.float32)
    if not isinstance(gates, Tensor):
        return values if gates == 1.0 else (values.to(wide) * gates).to(values.dtype)
    product = (values.to(wide) * gates.to(wide)).to(values.dtype)
    return torch.where(gates == 1.0, values, product)
