"""The backend that corrects outputs: no weight is written, so weights may be quantised.

A site computes y = W x as it always does, and D x is taken off, D = W - (W gated by the look). It
is what mixed batches do, with one look for all rows. Of a quantised site W are the dequantised
weights: those that the layer multiplies by. With the unquantised ones the rounding of every
pruned weight would stay behind.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from prosopon.errors import PersonaError
from prosopon.models import Site
from prosopon.runtime.backends import BACKENDS
from prosopon.runtime.blocks import Blocks
from prosopon.runtime.gates import Gating, Mask, gating_of
from prosopon.runtime.looks import Look
from prosopon.runtime.mixed import MixedBatch
from prosopon.runtime.positions import Positions
from prosopon.subnetwork import Compensation


@BACKENDS.register("correction")
class CorrectionBackend:
    """Takes off every site's output what the look's gates take off its weights.

    Costs a multiplication and 8 bytes for every pruned weight, so it is for light masks. Compiled
    models run as written while a persona is worn.

    Args:
        sites: The sites of one model, quantised or not.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self._sites = list(sites)
        self._personas: dict[str, dict[str, Mask]] = {}
        self._blocks = Blocks(self.gating)
        self._worn: MixedBatch | None = None
        self._stance: Any = None

    def load(
        self,
        name: str,
        keep: Mapping[str, Tensor],
        levels: Mapping[str, Tensor] | None = None,
        compensation: Compensation | None = None,
    ) -> None:
        """Note the pruned positions; see :class:`Backend`."""
        if compensation is not None:
            raise PersonaError(
                f"persona {name!r} has new values for its kept weights (a compensation), and the "
                "backend 'correction' writes no weight; wear it on the unquantised model"
            )
        self._personas[name] = {
            site.name: Mask(
                Positions(~keep[site.name]), None if levels is None else levels[site.name]
            ).to(site.weight.device)
            for site in self._sites
            if site.name in keep
        }

    def unload(self, name: str) -> None:
        """Forget a persona; see :class:`Backend`."""
        del self._personas[name]
        self._blocks.cache.drop(name)

    def wear(self, look: Look, checkpoint: Callable[[], None]) -> None:
        """Correct outputs by a look from now on; see :class:`Backend`."""
        for site in self._sites:
            checkpoint()
            self._blocks.get(look, site)
        self.restore()
        self._worn = MixedBatch(self._sites, [look], None, self._blocks)
        self._stance = torch.compiler.set_stance("force_eager")  # compiled graphs leave hooks out

    def restore(self) -> None:
        """Correct nothing from now on; see :class:`Backend`."""
        if self._worn is not None:
            self._worn.remove()
            self._worn = None
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None

    def close(self) -> None:
        """Correct nothing; see :class:`Backend`."""
        self.restore()

    def gating(self, look: Look, site: Site) -> Gating | None:
        """Return the gates of a site; see :class:`Backend`."""
        return gating_of(self._personas, look, site.name)
