"""Models: loading them, finding the matrices a mask may prune, telling two models apart.

- ``loading``: a model and its tokenizer from the package, a folder, a GGUF file or the Hub.
- ``checkpoints``: its parts, read with transformers; ``gguf``: GGUF files as checkpoints.
- ``matching``: which weights a name or a pattern means (strings only).
- ``sites``: the prunable matrices of a model, in one orientation.
- ``experts``: the experts of a fused parameter, one by one.
- ``structure``: MLP channels and attention heads, as groups of rows and columns.
- ``groups``: what such a group is.
- ``restrict``: sites of some layers, or of attention or MLP alone.
- ``fingerprint``: two hashes that say whether a mask belongs to a model.
"""

from prosopon.models.fingerprint import (
    Fingerprint,
    Sample,
    fingerprint,
    fingerprint_of,
    sample_signs,
)
from prosopon.models.loading import (
    EMBEDDED,
    SMOLLM2,
    LoadedModel,
    load_model,
    resolve_device,
    resolve_source,
)
from prosopon.models.names import layer_index, projection, role
from prosopon.models.restrict import parse_layers, restrict_sites
from prosopon.models.sites import Site, check_finite, find_sites, unwrap
from prosopon.models.structure import find_groups

__all__ = [
    "EMBEDDED",
    "SMOLLM2",
    "Fingerprint",
    "LoadedModel",
    "Sample",
    "Site",
    "check_finite",
    "find_groups",
    "find_sites",
    "fingerprint",
    "fingerprint_of",
    "layer_index",
    "load_model",
    "parse_layers",
    "projection",
    "resolve_device",
    "resolve_source",
    "restrict_sites",
    "role",
    "sample_signs",
    "unwrap",
]
