"""What a backend is: the way in which a model comes to compute with masked weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from torch import Tensor

from prosopon.models import Site
from prosopon.registry import Registry


class Backend(Protocol):
    """Makes the sites of one model compute with the weights of a persona.

    A pruned weight w counts as w * gamma, computed in the weight's dtype; every other weight
    counts as it is. The base weights must be recoverable bit for bit at every moment, also when
    any call was left by an exception. Calls never overlap.
    """

    def load(self, name: str, keep: Mapping[str, Tensor]) -> None:
        """Take in a persona: bool [out, in] masks of some of the sites, True where kept.

        Sites without a mask stay dense. May be called while another persona is worn.
        """

    def unload(self, name: str) -> None:
        """Forget a persona that is not worn."""

    def wear(self, name: str, gamma: float, checkpoint: Callable[[], None]) -> None:
        """Change from whatever is worn to a loaded persona.

        Calls ``checkpoint`` now and then, at moments when it may raise. If this raises, the
        caller calls :meth:`restore`.
        """

    def restore(self) -> None:
        """Return to the base model; may be called at any time and any number of times."""

    def close(self) -> None:
        """Return to the base model and leave no trace of the backend on it."""


BackendFactory = Callable[[Sequence[Site]], Backend]

BACKENDS: Registry[BackendFactory] = Registry("backend")
"""What makes a backend for the sites of a model."""
