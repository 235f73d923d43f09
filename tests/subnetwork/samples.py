"""Small subnetworks for the tests of this folder."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from prosopon.subnetwork import Evaluation, Pack, Subnetwork, SubnetworkConfig


def config(**changes):
    fields = {
        "persona": "introvert",
        "opposite": "extravert",
        "base_model": "org/model",
        "revision": "0123abc",
        "fingerprint": {"architecture": "a" * 64, "weights": "b" * 64},
        "criterion": "contrastive-wanda",
        "options": {"variant": "paper", "tau": 2.0, "only": ["mlp"], "nested": {"a": None}},
        "pattern": "row",
        "sparsity": 0.3,
        "calibration": {
            "target_hash": "c" * 64,
            "opposite_hash": "d" * 64,
            "target_count": 12,
            "opposite_count": 11,
            "general_count": 0,
            "scope": "response",
        },
        "seed": 7,
        "versions": {"torch": "2.4"},
        "license": "Apache-2.0",
        "created": "2026-01-02T03:04:05+00:00",
    }
    return SubnetworkConfig.model_validate(fields | changes)


def masks(seed=0, *, share=0.7, shapes=None):
    generator = torch.Generator().manual_seed(seed)
    shapes = shapes or {"model.layers.0.mlp.up": (3, 10), "model.layers.0.attn.q": (2, 8)}
    return {name: torch.rand(shape, generator=generator) < share for name, shape in shapes.items()}


def levels(keep, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randint(256, (int((~mask).sum()),), generator=generator).to(torch.uint8)
        for name, mask in keep.items()
    }


def subnetwork(seed=0, *, ranked=False, **changes):
    keep = masks(seed)
    return Subnetwork(keep, config(**changes), levels(keep, seed) if ranked else None)


def evaluation(checksum="", **changes):
    row = {
        "task": "choice", "measure": "per-token", "mean": 0.9, "low": 0.8, "high": 1.0,
        "questions": 40,
    }  # fmt: skip
    names = {"persona": "introvert", "opposite": "extravert", "base_model": "org/model"}
    fields = {"checksum": checksum, **names, "measures": [row], "base": [row | {"mean": 0.85}]}
    return Evaluation.model_validate(fields | changes)


def load_pack(path):
    pack = Pack(path)
    return {name: pack.load(name) for name in pack.names}


@st.composite
def bool_matrices(draw, rows=6, columns=35):
    shape = draw(st.integers(1, rows)), draw(st.integers(1, columns))
    bits = draw(st.integers(0, 2 ** (shape[0] * shape[1]) - 1))
    flat = [bool(bits >> index & 1) for index in range(shape[0] * shape[1])]
    return torch.tensor(flat).view(shape)
