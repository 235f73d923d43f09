"""Wearing a subnetwork together with its compensation, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from prosopon.errors import PersonaError
from prosopon.models import Site, find_sites
from prosopon.runtime.attachment import claim, release
from prosopon.runtime.interrupts import DeferredInterrupts
from prosopon.runtime.matching import check_belongs
from prosopon.subnetwork import Subnetwork


class Compensated:
    """A model whose kept weights have a subnetwork's new values and whose pruned ones are gone.

    Unlike a mask an update touches every weight of its sites, so that there is no cheap switch:
    the originals are copied whole. They come back bit for bit on :meth:`restore` or at the end
    of a ``with`` block, also after an exception. While it is worn no
    :class:`~prosopon.runtime.PersonaModel` can take the same sites.

    Args:
        model: The model that the subnetwork was extracted from.
        subnetwork: A subnetwork with a compensation.
        targets: Patterns of the sites to look at; default all.
        ignore: Patterns of sites to leave alone.

    Raises:
        PersonaError: The subnetwork has no compensation, or a site has an owner.
        SubnetworkError: It belongs to another model.
    """

    def __init__(
        self,
        model: nn.Module,
        subnetwork: Subnetwork,
        *,
        targets: Sequence[str] | None = None,
        ignore: Sequence[str] = (),
    ) -> None:
        compensation = subnetwork.compensation
        if compensation is None:
            raise PersonaError(
                f"subnetwork {subnetwork.config.persona!r} has no compensation: extract it with "
                "--criterion sparsegpt --option compensate=true, or wear its mask alone"
            )
        sites = find_sites(model, targets=targets, ignore=ignore)
        check_belongs(subnetwork, sites)
        self._sites = [site for site in sites if site.name in subnetwork.keep]
        self._originals: dict[str, Tensor] = {}
        claim(self._sites)
        try:
            with DeferredInterrupts() as interrupts:
                for site in self._sites:
                    keep = subnetwork.keep[site.name]
                    self._write(site, compensation.matrix(site.name, keep), keep)
                    interrupts.deliver()
        except BaseException:
            self.restore()
            raise

    def restore(self) -> None:
        """Write all originals back and let the sites go; doing it again does nothing."""
        with DeferredInterrupts():
            for site in self._sites:
                original = self._originals.get(site.name)
                if original is not None:
                    _copy(site, original)
            self._originals.clear()
            release(self._sites)
            self._sites = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.restore()

    def _write(self, site: Site, values: Tensor, keep: Tensor) -> None:
        matrix = site.matrix()
        self._originals[site.name] = matrix.clone()  # before the first write
        # A pruned weight keeps its sign, as a mask's does.
        gone = torch.zeros((), dtype=matrix.dtype, device=matrix.device) * matrix
        _copy(site, torch.where(keep.to(matrix.device), values.to(matrix), gone))


def _copy(site: Site, values: Tensor) -> None:
    with torch.inference_mode(site.weight.is_inference()), torch.no_grad():
        site.matrix().copy_(values)
