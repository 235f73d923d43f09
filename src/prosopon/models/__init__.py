"""Models: loading them, finding the matrices a mask may prune, telling two models apart.

- ``loading``: a model and its tokenizer from the package, a folder or the Hub.
- ``matching``: which weights a name or a pattern means (strings only).
- ``sites``: the prunable matrices of a model, in one orientation.
- ``restrict``: sites of some layers, or of attention or MLP alone.
- ``fingerprint``: two hashes that say whether a mask belongs to a model.
"""

from __future__ import annotations

from prosopon.models.fingerprint import Fingerprint, fingerprint
from prosopon.models.loading import DTYPES, EMBEDDED, LoadedModel, load_model, resolve_device
from prosopon.models.matching import Role, is_head_or_embedding, layer_index, role, select
from prosopon.models.restrict import parse_layers, restrict_sites
from prosopon.models.sites import Site, check_finite, find_sites

__all__ = [
    "DTYPES",
    "EMBEDDED",
    "Fingerprint",
    "LoadedModel",
    "Role",
    "Site",
    "check_finite",
    "find_sites",
    "fingerprint",
    "is_head_or_embedding",
    "layer_index",
    "load_model",
    "parse_layers",
    "resolve_device",
    "restrict_sites",
    "role",
    "select",
]
