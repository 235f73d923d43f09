"""Groups: which rows and columns of which sites stand and fall together. Pure data.

A group is the set of units of one place in a model that compete with each other, for instance the
MLP channels of one layer. A unit is made of rows and columns of several sites: MLP channel 7 is
row 7 of the gate and of the up projection and column 7 of the down projection. Whoever knows the
model builds groups (:func:`prosopon.models.find_groups`); whoever selects or removes units needs
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import torch

from prosopon.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

ROWS: Final = 0
COLUMNS: Final = 1


@dataclass(frozen=True, eq=False)
class Part:
    """What the units of a group have in one site."""

    site: str  # the site's name
    # 0 if units own rows (outputs) of the site's [out, in] matrix, 1 if columns (inputs)
    axis: Literal[0, 1]
    indices: Tensor  # int64 [units, width] on the CPU: the rows or columns of every unit


@dataclass(frozen=True, eq=False)
class Group:
    """The units of one place in a model, which compete with each other.

    Raises:
        ValueError: There are no parts, or they do not have the same number of units.
    """

    kind: str  # what a unit is: ``"channels"`` or ``"heads"``
    name: str  # dotted name of the module that holds the sites
    # what the units have in each site; no row or column belongs to two units
    parts: tuple[Part, ...]
    layer: int | None = None  # number of the decoder layer, None outside the layers
    # by how much each field of the model's config falls when one unit is removed from every layer,
    # for instance ``{"intermediate_size": 1}``. Empty if the config has no such field.
    shrinks: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len({len(part.indices) for part in self.parts}) != 1:
            raise ValueError(f"group {self.name!r}: its parts must have one number of units")

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.parts[0].indices)

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, each once."""
        return tuple(dict.fromkeys(part.site for part in self.parts))

    def unit_sums(self, site: str, matrix: Tensor) -> Tensor:
        """Return the sum of what each unit owns of a site's [out, in] matrix, float64 [units]."""
        total = torch.zeros(self.units, dtype=torch.float64)
        for part in self.parts:
            if part.site == site:
                lines = matrix.sum(dim=1 - part.axis, dtype=torch.float64).cpu()
                total += lines[part.indices].sum(dim=1)
        return total

    def prune(self, site: str, keep: Tensor, kept_units: Tensor) -> None:
        """Set to False, in a site's ``keep``, bool [out, in], what the units that go own of it."""
        for part in self.parts:
            if part.site == site:
                gone = part.indices[~kept_units.cpu()].flatten().to(keep.device)
                keep.index_fill_(part.axis, gone, False)

    def kept_units(self, keep: Mapping[str, Tensor]) -> Tensor:
        """Return which units a mask keeps: bool [units], False where it prunes all of a unit.

        Raises:
            OptionError: The mask says nothing of a site, or prunes a part of a unit only.
        """
        states = []
        for part in self.parts:
            if part.site not in keep:
                raise OptionError(f"{self.kind} of {self.name}: no mask of site {part.site!r}")
            mask = keep[part.site].movedim(part.axis, 0)
            states.append(mask.any(dim=1).cpu()[part.indices])
        living = torch.cat(states, dim=1).any(dim=1)
        for site in self.sites:
            expected = torch.ones_like(keep[site])
            self.prune(site, expected, living)
            if not torch.equal(expected, keep[site]):
                raise OptionError(
                    f"{self.kind} of {self.name}: the mask of site {site!r} prunes other weights "
                    f"than those of whole {self.kind}; extract it with the pattern {self.kind!r}"
                )
        return living
