"""Whole matrices in place of a model's: a mask together with its compensation, and the way back.

A mask leaves kept weights alone, so that a switch writes few weights. A compensation gives every
kept weight of its sites a new value: the originals are copied whole while it is worn.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from prosopon.models import Site
from prosopon.subnetwork import Compensation


def compensated_matrix(site: Site, keep: Tensor, compensation: Compensation) -> Tensor:
    """Return what the weights of a site on the base become: new values where kept, else zero.

    A pruned weight keeps its sign, as a mask's does. ``keep`` and the result are [out, in].
    """
    matrix = site.matrix()
    zeros = torch.zeros((), dtype=matrix.dtype, device=matrix.device) * matrix
    values = compensation.matrix(site.name, keep).to(matrix)
    return torch.where(keep.to(matrix.device), values, zeros)


class Replacement:
    """The compensated matrices of one persona, which `put` writes and `restore` undoes."""

    def __init__(
        self, sites: Sequence[Site], keep: Mapping[str, Tensor], compensation: Compensation
    ) -> None:
        self._sites = [site for site in sites if site.name in keep]
        self._keep, self._compensation = keep, compensation
        self._originals: dict[str, Tensor] = {}
        compensation.check_masks(keep)

    def put(self, checkpoint: Callable[[], None]) -> None:
        """Write the matrices over the base; may be broken off, and then wants :meth:`restore`."""
        for site in self._sites:
            checkpoint()
            matrix = compensated_matrix(site, self._keep[site.name], self._compensation)
            self._originals[site.name] = site.matrix().clone()  # before the first write
            _copy(site, matrix)

    def restore(self) -> None:
        """Write all originals back; doing it again does nothing."""
        for site in self._sites:
            original = self._originals.get(site.name)
            if original is not None:
                _copy(site, original)
        self._originals.clear()


def _copy(site: Site, values: Tensor) -> None:
    with torch.inference_mode(site.weight.is_inference()), torch.no_grad():
        site.matrix().copy_(values)
