"""The in-place backend: writes the live weights, and only where two personas differ.

The way back is a journal. Every site keeps the originals of all its weights that may differ
from the base, as entries of (positions, values). An entry is put into the journal before the
first write that it covers and taken out after the last, each time by one assignment. So at
every moment, also in the middle of a switch, writing all entries back gives the base bit for
bit, and doing it twice does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from prosopon.models import Site
from prosopon.runtime.backends import BACKENDS
from prosopon.runtime.positions import Positions, read, write


class _Entry(NamedTuple):
    """Originals of some weights of a site; ``values[i]`` belongs to ``indices()[i]``."""

    indices: Callable[[], Tensor]
    values: Tensor


@dataclass
class _SiteState:
    """What is written into one site.

    Attributes:
        pruned: The positions that are gated now; None on the base.
        gamma: The gate that is written there.
        journal: Originals of everything that may differ from the base. Between switches one
            entry for ``pruned``.
    """

    pruned: Positions | None = None
    gamma: float = 1.0
    journal: tuple[_Entry, ...] = ()


@BACKENDS.register("inplace")
class InplaceBackend:
    """Gates weights in the live tensors, whose memory stays where it is.

    A switch reads and writes what the masks of the two personas name, and writes only what
    differs between them. The originals of the worn persona's weights take the memory of as
    many weights.

    A gated weight is w * gamma with its sign kept, also for gamma 0: a pruned negative weight
    is -0.0. It adds nothing, and the fingerprint of the model, which reads signs, stays.

    Args:
        sites: The sites of one model, with finite weights.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self._sites = {site.name: site for site in sites}
        self._states = {site.name: _SiteState() for site in sites}
        self._personas: dict[str, dict[str, Positions]] = {}
        self._settled = True  # False while states and weights may disagree

    def load(self, name: str, keep: Mapping[str, Tensor]) -> None:
        """Note the pruned positions; reads no weight. See :class:`Backend`."""
        self._personas[name] = {
            site: Positions(keep[site]).to(self._sites[site].weight.device)
            for site in self._sites
            if site in keep
        }

    def unload(self, name: str) -> None:
        """Forget a persona; see :class:`Backend`."""
        del self._personas[name]

    def wear(self, name: str, gamma: float, checkpoint: Callable[[], None]) -> None:
        """Write what differs between the worn persona and this one; see :class:`Backend`."""
        if not self._settled:  # an earlier restore failed; states cannot be built upon
            self.restore()
        persona = self._personas[name]
        self._settled = False
        for site, state in self._states.items():
            checkpoint()
            self._switch(self._sites[site], state, persona.get(site), gamma)
        self._settled = True

    def restore(self) -> None:
        """Write all originals back; see :class:`Backend`."""
        self._settled = False
        for name, state in self._states.items():
            _write_back(self._sites[name], state)
        self._settled = True

    def close(self) -> None:
        """Write all originals back; see :class:`Backend`."""
        self.restore()

    def _switch(
        self, site: Site, state: _SiteState, target: Positions | None, gamma: float
    ) -> None:
        """Bring one site from its state to the target's gate."""
        if gamma == 1.0 or target is None or not len(target):
            _write_back(site, state)
        elif state.pruned is None:
            _gate_base(site, state, target, gamma)
        elif state.pruned is target:
            _change_gate(site, state, target, gamma)
        else:
            _exchange(site, state, state.pruned, target, gamma)


def _write_back(site: Site, state: _SiteState) -> None:
    """Return a site to the base, from any moment of any change."""
    for entry in state.journal:
        _write(site, entry.indices(), entry.values)
    state.journal = ()
    state.pruned, state.gamma = None, 1.0


def _gate_base(site: Site, state: _SiteState, target: Positions, gamma: float) -> None:
    """Gate the target's weights of a site that is on the base."""
    indices = target.to(site.weight.device).indices()
    values = read(site.matrix(), indices)
    state.journal = (_Entry(target.indices, values),)
    _write(site, indices, values * gamma)
    state.pruned, state.gamma = target, gamma


def _change_gate(site: Site, state: _SiteState, target: Positions, gamma: float) -> None:
    """Write another gate to the weights that are gated already."""
    if gamma != state.gamma:
        (entry,) = state.journal
        _write(site, entry.indices(), entry.values.to(site.weight) * gamma)
        state.gamma = gamma


def _exchange(
    site: Site, state: _SiteState, worn: Positions, target: Positions, gamma: float
) -> None:
    """Go from one set of gated weights to another: write only where weights change."""
    (before,) = state.journal
    held = before.values.to(site.weight)  # the model may have been moved or cast since
    old, new = before.indices(), target.to(before.values.device).indices()
    stays, known = target.contains(old), worn.contains(new)
    # Both lists ascend, so the held positions come in the same order in both.
    entering = new[~known]
    originals = read(site.matrix(), entering)
    values = torch.empty(len(new), dtype=originals.dtype, device=originals.device)
    values[known], values[~known] = held[stays], originals

    state.journal = (before, _Entry(lambda: entering, originals))
    _write(site, old[~stays], held[~stays])
    _write(site, entering, originals * gamma)
    if gamma != state.gamma:
        _write(site, old[stays], held[stays] * gamma)
    state.journal = (_Entry(target.indices, values),)
    state.pruned, state.gamma = target, gamma


def _write(site: Site, indices: Tensor, values: Tensor) -> None:
    """Write into the live weight, wherever the model has been moved since."""
    weight = site.weight
    if not len(indices):
        return
    # Works on weights made under inference_mode, too, and whatever mode the caller is in.
    with torch.inference_mode(weight.is_inference()), torch.no_grad():
        write(site.matrix(), indices.to(weight.device), values.to(weight))
