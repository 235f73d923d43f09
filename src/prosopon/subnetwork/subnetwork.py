"""The subnetwork: which weights a persona keeps, and where that is known from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from prosopon.errors import SubnetworkError
from prosopon.subnetwork.compensation import COMPENSATION_NAME, Compensation
from prosopon.subnetwork.config import SubnetworkConfig, site_records
from prosopon.subnetwork.storage import read_folder, write_folder


class Subnetwork:
    """The keep-masks of one persona, with their provenance.

    Two subnetworks are equal if they have the same masks, whatever their provenance says; since
    masks can change, they have no hash.

    Args:
        keep: Bool [out, in] of every site, True where the weight is kept. Moved to the CPU;
            not copied if there already.
        config: The provenance. An empty ``sites`` is filled in.
        levels: The ranking of the pruned weights, where there is one: for every site uint8
            [pruned], in row-major order of its pruned weights. A weight of level l is pruned at
            every strength above l / 256, so the masks of all strengths are nested.

    Attributes:
        keep: The masks, on the CPU.
        config: The provenance.
        levels: The ranking, on the CPU; None if there is none.
        compensation: New values of the kept weights, where the criterion computed any; None
            otherwise. It is written beside the masks; a
            :class:`~prosopon.runtime.PersonaModel` wears the masks alone.

    Raises:
        SubnetworkError: There is no site, a mask is not a bool matrix, ``config.sites``
            describes other masks, or the levels do not fit the masks.
    """

    def __init__(
        self,
        keep: Mapping[str, Tensor],
        config: SubnetworkConfig,
        levels: Mapping[str, Tensor] | None = None,
    ) -> None:
        if not keep:
            raise SubnetworkError(f"subnetwork {config.persona!r} has no site")
        for name, mask in keep.items():
            if mask.dtype != torch.bool or mask.ndim != 2 or not mask.numel():
                raise SubnetworkError(
                    f"the mask of site {name!r} must be a bool matrix [out, in], not "
                    f"{str(mask.dtype).removeprefix('torch.')} {list(mask.shape)}"
                )
        self.keep = {name: mask.cpu() for name, mask in keep.items()}
        records = site_records(self.keep)
        if config.sites and config.sites != records:
            odd = next(
                name
                for name in [*records, *config.sites]
                if records.get(name) != config.sites.get(name)
            )
            raise SubnetworkError(
                f"subnetwork {config.persona!r}: its config describes another mask of {odd!r}"
            )
        self.config = config.model_copy(update={"sites": records})
        self.levels = None if levels is None else self._checked(levels)
        self.compensation: Compensation | None = None

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, in the order of the masks."""
        return tuple(self.keep)

    @property
    def pruned(self) -> int:
        """How many weights are pruned."""
        return sum(record.pruned for record in self.config.sites.values())

    @property
    def total(self) -> int:
        """How many weights the sites have."""
        return sum(mask.numel() for mask in self.keep.values())

    @property
    def pruned_share(self) -> float:
        """Share of the sites' weights that are pruned, from 0 to 1."""
        return self.pruned / self.total

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``subnetwork_config.json`` and ``subnetwork.safetensors`` into ``folder``.

        Makes the folder; overwrites the two files. The same masks give the same bytes.

        Raises:
            SubnetworkError: The folder cannot be written.
        """
        checksum = write_folder(Path(folder), self.keep, self.config)
        if self.compensation is not None:
            self.compensation.save(folder, self.keep)
        else:  # an older subnetwork's update would be refused beside these masks
            (Path(folder) / COMPENSATION_NAME).unlink(missing_ok=True)
        self.config = self.config.model_copy(update={"checksum": checksum})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Subnetwork:
        """Read what :meth:`save_pretrained` wrote.

        Raises:
            SubnetworkError: A file is missing or damaged, of an unknown version, or the two
                do not agree; names the file and says what to do.
        """
        keep, config = read_folder(Path(folder))
        found = cls(keep, config)
        found.compensation = Compensation.load(folder, keep)
        return found

    def _checked(self, levels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the levels in the order of the masks, or say what is wrong with them."""
        for name, record in self.config.sites.items():
            found = levels.get(name)
            if found is None or found.dtype != torch.uint8 or found.shape != (record.pruned,):
                raise SubnetworkError(
                    f"subnetwork {self.config.persona!r}: site {name!r} needs levels uint8 "
                    f"[{record.pruned}], one for every pruned weight"
                )
        return {name: levels[name].cpu() for name in self.keep}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Subnetwork):
            return NotImplemented
        return self.keep.keys() == other.keep.keys() and all(
            torch.equal(mask, other.keep[name]) for name, mask in self.keep.items()
        )

    def __repr__(self) -> str:
        return (
            f"Subnetwork({self.config.persona!r}, {len(self.keep)} sites, "
            f"{self.pruned:,} of {self.total:,} weights pruned)"
        )
