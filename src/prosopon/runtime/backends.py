"""What a backend is: the way in which a model comes to compute with masked weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from prosopon.models import Site, find_sites
from prosopon.registry import Registry
from prosopon.runtime.gates import Gating
from prosopon.runtime.looks import Look
from prosopon.subnetwork import Compensation


class Backend(Protocol):
    """Makes the sites of one model compute with the weights of a look.

    A weight w counts as w * gate (:mod:`prosopon.runtime.looks`), computed in float32 at least
    and rounded to the weight's dtype; every other weight counts as it is. The base weights must
    be recoverable bit for bit at every moment, also when any call was left by an exception.
    Calls never overlap.
    """

    def load(
        self,
        name: str,
        keep: Mapping[str, Tensor],
        levels: Mapping[str, Tensor] | None = None,
        compensation: Compensation | None = None,
    ) -> None:
        """Take in a persona: bool [out, in] masks of some of the sites, True where kept.

        Sites without a mask stay dense. ``levels`` is the ranking, uint8 [pruned] of every
        mask. A persona with a ``compensation`` is only ever worn whole and alone. May be called
        while another persona without one is worn.

        Raises:
            SubnetworkError: The compensation belongs to other masks.
        """

    def unload(self, name: str) -> None:
        """Forget a persona that is not worn."""

    def wear(self, look: Look, checkpoint: Callable[[], None]) -> None:
        """Change from whatever is worn to a look of loaded personas.

        Calls ``checkpoint`` now and then, at moments when it may raise. If this raises, the
        caller calls :meth:`restore`.
        """

    def restore(self) -> None:
        """Return to the base model; may be called at any time and any number of times."""

    def close(self) -> None:
        """Return to the base model and leave no trace of the backend on it."""

    def gating(self, look: Look, site: Site) -> Gating | None:
        """Return the gates that a look of loaded personas gives a site; None for none."""


BackendFactory = Callable[[Sequence[Site]], Backend]

BACKENDS: Registry[BackendFactory] = Registry("backend")
"""What makes a backend for the sites of a model."""


def choose_backend(
    name: str | None, model: nn.Module, targets: Sequence[str] | None, ignore: Sequence[str]
) -> tuple[list[Site], BackendFactory]:
    """Return a model's sites, and what makes their backend.

    Without a name that is ``inplace``, or ``correction``, which never writes, where a weight is
    quantised. Other backends take no quantised sites.

    Raises:
        UnknownNameError: No such backend.
        SiteError: See :func:`prosopon.models.find_sites`.
    """
    factory, correction = BACKENDS.get(name or "inplace"), BACKENDS.get("correction")
    quantised = name is None or factory is correction
    sites = find_sites(model, targets=targets, ignore=ignore, quantised=quantised)
    if name is None and any(site.quantised for site in sites):
        factory = correction
    return sites, factory
