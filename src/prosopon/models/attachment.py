"""Who may write a model's weights: one owner a site, so that no stash holds a masked weight."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from prosopon.errors import PersonaError
from prosopon.models.sites import Site

if TYPE_CHECKING:
    from torch import nn


class Owner(Protocol):
    """Whoever may write the weights of sites."""

    @property
    def active(self) -> str | None:
        """What is worn, in words; None where the weights are the base model's."""


# By module, not by model: a wrapper of a model and a part of it own the same weights.
_OWNERS: weakref.WeakKeyDictionary[nn.Module, weakref.ref[Owner]] = weakref.WeakKeyDictionary()
_LOCK = threading.RLock()  # re-entrant: the collector may release sites while this is held


def claim(sites: Sequence[Site], owner: Owner) -> None:
    """Make ``owner`` (weakly referenced) that of all sites; where one has another, of none."""
    with _LOCK:
        for site in sites:
            if site.module in _OWNERS:
                raise PersonaError(
                    f"site {site.name!r} of the model belongs to another PersonaModel; use that "
                    "one, or close() it first"
                )
        _OWNERS.update((site.module, weakref.ref(owner)) for site in sites)


def release(sites: Sequence[Site]) -> None:
    """Leave the sites without an owner."""
    with _LOCK:
        for site in sites:
            _OWNERS.pop(site.module, None)


def check_base(sites: Sequence[Site]) -> None:
    """Raise a PersonaError unless the sites hold the base model's weights."""
    with _LOCK:
        owners = {_OWNERS[site.module] for site in sites if site.module in _OWNERS}
    for reference in owners:
        owner = reference()
        if owner is not None and owner.active is not None:
            raise PersonaError(
                f"the model wears {owner.active!r}, so its weights are not the base model's; take "
                "the persona off first"
            )


@contextmanager
def base_evaluation(model: nn.Module, sites: Sequence[Site]) -> Iterator[None]:
    """Hold a base model in evaluation mode, without dropout; every module's mode comes back."""
    check_base(sites)
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
