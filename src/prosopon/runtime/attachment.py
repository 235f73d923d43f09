"""Who may write a model's weights: one owner a site, so that no stash holds a masked weight."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence

from torch import nn

from prosopon.errors import PersonaError
from prosopon.models import Site

# By module, not by model: a wrapper of a model and a part of it own the same weights.
_OWNED: weakref.WeakSet[nn.Module] = weakref.WeakSet()
_LOCK = threading.RLock()  # re-entrant: the collector may release sites while this is held


def claim(sites: Sequence[Site]) -> None:
    """Make the caller the owner of all sites until :func:`release`.

    Raises:
        PersonaError: A site has an owner; then none is claimed.
    """
    with _LOCK:
        for site in sites:
            if site.module in _OWNED:
                raise PersonaError(
                    f"site {site.name!r} of the model belongs to another PersonaModel; use that "
                    "one, or close() it first"
                )
        _OWNED.update(site.module for site in sites)


def release(sites: Sequence[Site]) -> None:
    """Leave the sites without an owner."""
    with _LOCK:
        _OWNED.difference_update(site.module for site in sites)
