"""Telling whether a mask belongs to a model: two short hashes over its sites.

The hash of the weights reads sign bits only. Rounding to a narrower float keeps a number's sign
(a tiny negative number becomes -0.0), so the same checkpoint in float32, bfloat16 and float16
has one fingerprint, while another checkpoint of the same shape has another. It tells models
apart; it does not prove that every weight is equal: an edit that flips no sampled sign passes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from prosopon.models.sites import Site

SAMPLES = 4096
"""At most this many weights of each site are read."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a mask has to agree with; both are hexadecimal SHA-256."""

    architecture: str  # of the sites' names and shapes
    weights: str  # of the sites' names and the sign bits of a sample of their weights


@dataclass(frozen=True, slots=True)
class Sample:
    """What a fingerprint reads of one site."""

    out_features: int  # rows
    in_features: int  # columns
    signs: bytes  # the sampled sign bits, packed


def fingerprint(sites: Iterable[Site]) -> Fingerprint:
    """Return the fingerprint of a model's sites, in whatever order they come.

    Reads the live weights. A weight that prosopon prunes keeps its sign (it becomes -0.0), so
    the fingerprint is the same while a persona is worn.
    """
    return fingerprint_of({site.name: sample_signs(site.matrix()) for site in sites})


def fingerprint_of(samples: Mapping[str, Sample]) -> Fingerprint:
    """Return the fingerprint of samples by site name; they may be taken one site at a time."""
    ordered = sorted(samples)
    shapes = [[name, samples[name].out_features, samples[name].in_features] for name in ordered]
    weights = hashlib.sha256()
    for name in ordered:
        # The zero byte cannot occur in a name, so names and bits cannot run together.
        weights.update(name.encode() + b"\0" + samples[name].signs)
    architecture = hashlib.sha256(json.dumps(shapes, separators=(",", ":")).encode())
    return Fingerprint(architecture.hexdigest(), weights.hexdigest())


def sample_signs(matrix: torch.Tensor) -> Sample:
    """Return shape and packed sign bits of evenly strided elements of a ``[out, in]`` matrix."""
    rows, columns = matrix.shape
    count = min(matrix.numel(), SAMPLES)
    # By row and column: flattening a transposed view would copy the whole matrix.
    flat = torch.arange(count, device=matrix.device) * matrix.numel() // max(count, 1)
    signs = torch.signbit(matrix[flat // columns, flat % columns])
    return Sample(rows, columns, np.packbits(signs.cpu().numpy()).tobytes())
