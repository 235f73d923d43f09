"""The functional backend: weights are never written; outputs are computed anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from prosopon.models import Site
from prosopon.runtime.backends import BACKENDS


@BACKENDS.register("functional")
class FunctionalBackend:
    """Computes the output of every masked site a second time, with its weights gated.

    Slow, and simple enough to be believed: the oracle that the other backends are tested
    against. Needs a matrix of bools for every site of every persona.

    Args:
        sites: The sites of one model. They get a forward hook that :meth:`close` removes.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self._sites = list(sites)
        self._personas: dict[str, dict[str, Tensor]] = {}
        self._worn: dict[str, Tensor] = {}
        self._gamma = 1.0
        # First among the hooks, so that those of others see the masked output.
        self._hooks = [
            site.module.register_forward_hook(self._hook(site), prepend=True) for site in sites
        ]

    def load(self, name: str, keep: Mapping[str, Tensor]) -> None:
        """Move the masks beside the weights; see :class:`Backend`."""
        self._personas[name] = {
            site.name: keep[site.name].to(site.weight.device)
            for site in self._sites
            if site.name in keep
        }

    def unload(self, name: str) -> None:
        """Forget a persona; see :class:`Backend`."""
        del self._personas[name]

    def wear(self, name: str, gamma: float, checkpoint: Callable[[], None]) -> None:
        """Let the hooks compute with a persona from now on; see :class:`Backend`."""
        checkpoint()
        self._worn, self._gamma = self._personas[name], gamma

    def restore(self) -> None:
        """Let the hooks do nothing from now on; see :class:`Backend`."""
        self._worn, self._gamma = {}, 1.0

    def close(self) -> None:
        """Remove the hooks; see :class:`Backend`."""
        self.restore()
        for hook in self._hooks:
            hook.remove()

    def _hook(self, site: Site) -> Callable[[nn.Module, tuple[Any, ...], Any], Tensor | None]:
        def recompute(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Tensor | None:
            keep = self._worn.get(site.name)
            if keep is None:
                return None
            # The live parameter, not the detached matrix: gradients still reach it.
            weight = site.oriented(site.weight)
            gated = torch.where(keep.to(weight.device), weight, weight * self._gamma)
            bias = cast(Tensor | None, module.bias)
            return nn.functional.linear(inputs[0], gated, bias)

        return recompute
