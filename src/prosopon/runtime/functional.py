"""The functional backend: weights are never written; outputs are computed anew."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor, nn

from prosopon.models import Site
from prosopon.models.experts import apart
from prosopon.runtime.backends import BACKENDS
from prosopon.runtime.compensation import compensated_matrix
from prosopon.runtime.gates import Gating
from prosopon.runtime.looks import Look
from prosopon.subnetwork import STEPS, Compensation


@BACKENDS.register("functional")
class FunctionalBackend:
    """Computes the output of every masked site a second time, with its weights gated.

    Slow, and simple enough to be believed: the oracle that the other backends are tested
    against. Needs two matrices of bytes for every site of every persona; compiled models run as
    written meanwhile.

    Args:
        sites: The sites of one model. They get a forward hook that :meth:`close` removes.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self._sites = list(sites)
        # The first step of the dial that prunes a weight, int16 [out, in]; 0 for never.
        self._personas: dict[str, dict[str, Tensor]] = {}
        self._gates: dict[str, Tensor] = {}
        # Compensated personas: whole weights, laid out as the sites' own.
        self._replacements: dict[str, dict[str, Tensor]] = {}
        self._weights: dict[str, Tensor] = {}
        self._stance: Any = None
        self._hooks = ExitStack()
        self._hooks.enter_context(apart(site.module for site in sites))
        for site in sites:
            # First among the hooks, so that those of others see the masked output.
            hook = site.module.register_forward_hook(self._hook(site), prepend=True)
            self._hooks.callback(hook.remove)

    def load(
        self,
        name: str,
        keep: Mapping[str, Tensor],
        levels: Mapping[str, Tensor] | None = None,
        compensation: Compensation | None = None,
    ) -> None:
        """Move the masks beside the weights; see :class:`Backend`."""
        self._personas[name] = {}
        if compensation is not None:
            compensation.check_masks(keep)
            sites = [site for site in self._sites if site.name in keep]
            whole = [compensated_matrix(site, keep[site.name], compensation) for site in sites]
            self._replacements[name] = {
                site.name: site.oriented(matrix).contiguous()
                for site, matrix in zip(sites, whole, strict=True)
            }
            return
        for site in self._sites:
            if site.name in keep:
                since = torch.zeros(site.shape, dtype=torch.int16)
                # Level l is pruned at more than l steps, so from step l + 1 on.
                first = 1 if levels is None else levels[site.name].short() + 1
                since[~keep[site.name]] = first
                self._personas[name][site.name] = since.to(site.weight.device)

    def unload(self, name: str) -> None:
        """Forget a persona; see :class:`Backend`."""
        del self._personas[name]
        self._replacements.pop(name, None)

    def wear(self, look: Look, checkpoint: Callable[[], None]) -> None:
        """Let the hooks compute with a look from now on; see :class:`Backend`."""
        gates = {}
        for site in self._sites:
            checkpoint()
            matrix = self._matrix(look, site)
            if matrix is not None:
                gates[site.name] = matrix
        self._gates = gates
        self._weights = self._replacements.get(look[0].name, {}) if look else {}
        if self._stance is None:  # compiled graphs leave hooks out
            self._stance = torch.compiler.set_stance("force_eager")

    def restore(self) -> None:
        """Let the hooks do nothing from now on; see :class:`Backend`."""
        self._gates, self._weights = {}, {}
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None

    def close(self) -> None:
        """Remove the hooks; see :class:`Backend`."""
        self.restore()
        self._hooks.close()

    def gating(self, look: Look, site: Site) -> Gating | None:
        """Return the gates of a site; see :class:`Backend`."""
        matrix = self._matrix(look, site)
        if matrix is None:
            return None
        flat = matrix.flatten()
        indices = (flat != 1.0).nonzero().squeeze(1)
        return Gating(len(flat), indices, flat[indices]) if len(indices) else None

    def _matrix(self, look: Look, site: Site) -> Tensor | None:
        """Return the gate of every weight, float64 [out, in]; None where no part has a mask."""
        matrix = None
        for name, steps, gate in look:
            since = self._personas[name].get(site.name)
            if since is not None:
                if matrix is None:
                    matrix = torch.ones(site.shape, dtype=torch.float64, device=since.device)
                matrix[(since > 0) & (since <= min(steps, STEPS))] *= gate
        return matrix

    def _hook(self, site: Site) -> Callable[[nn.Module, tuple[Any, ...], Any], Tensor | None]:
        def recompute(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Tensor | None:
            bias = cast(Tensor | None, module.bias)
            if site.name in self._weights:
                replacement = self._weights[site.name].to(site.weight)
                return _product(site, inputs[0], replacement, bias)
            gates = self._gates.get(site.name)
            if gates is None:
                return None
            # The live parameter, not the detached matrix: gradients still reach it.
            weight = site.weight
            wide = torch.promote_types(weight.dtype, torch.float32)
            gates = site.oriented(gates).to(weight.device).contiguous()  # laid out as the weight
            product = (weight.to(wide) * gates.to(wide)).to(weight.dtype)
            gated = torch.where(gates == 1.0, weight, product)
            return _product(site, inputs[0], gated, bias)

        return recompute


def _product(site: Site, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the module's output with another weight, by the same kernel as the module's own.

    In half precision another kernel rounds otherwise, and nothing could be compared to the bit.
    """
    if not site.transposed:
        return nn.functional.linear(inputs, weight, bias)
    flat = inputs.reshape(-1, inputs.shape[-1])
    product = flat @ weight if bias is None else torch.addmm(bias, flat, weight)
    return product.view(*inputs.shape[:-1], weight.shape[-1])
