"""Seeds for what is drawn site by site."""

from __future__ import annotations

import hashlib

import torch


def site_generator(seed: int, site: str) -> torch.Generator:
    """Return a CPU generator seeded for one site alone, so that no order of sites matters."""
    digest = hashlib.sha256(f"{seed}/{site}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
