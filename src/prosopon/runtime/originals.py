"""The originals of every weight that a loaded persona prunes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prosopon.runtime.positions import Positions


class Originals:
    """Base weights of one site at a growing set of positions; never changed, only replaced.

    Personas share them: the originals of two masks that overlap are kept once, and all
    personas of a model never take more than one copy of it.
    """

    def __init__(self, positions: Positions, values: Tensor) -> None:
        self._positions, self._values = positions, values

    @classmethod
    def none(cls, total: int, like: Tensor) -> Originals:
        """Make the originals of a site of which nothing is known yet."""
        nothing = Positions(torch.zeros(total, dtype=torch.bool)).to(like.device)
        return cls(nothing, torch.empty(0, dtype=like.dtype, device=like.device))

    def __len__(self) -> int:
        return len(self._positions)

    def at(self, indices: Tensor) -> Tensor:
        """Return the base weights at known int64 positions."""
        return self._values[self._positions.rank(indices)]

    def grow(self, positions: Positions, read: Callable[[Tensor], Tensor]) -> Originals:
        """Add positions; ``read`` gives the base weights at the ones that are new."""
        wanted, old = positions.indices(), self._positions.indices()
        new = wanted[~self._positions.contains(wanted)]
        indices, order = torch.cat([old, new]).sort()
        values = torch.cat([self._values, read(new).to(self._values.dtype)])[order]
        return Originals(Positions.of(indices, self._positions.total), values)

    def restrict(self, positions: list[Positions]) -> Originals:
        """Forget what is in none of some sets of known positions."""
        members = torch.zeros(self._positions.total, dtype=torch.bool)
        for part in positions:
            members[part.indices().cpu()] = True
        rest = Positions(members).to(self._values.device)
        return Originals(rest, self.at(rest.indices()))

    def renew(self, read: Callable[[Tensor], Tensor]) -> Originals:
        """Read all of them anew."""
        return Originals(self._positions, read(self._positions.indices()))

    def to(self, like: Tensor) -> Originals:
        """Return them in the dtype and on the device of ``like``."""
        return Originals(self._positions.to(like.device), self._values.to(like))
