"""Models on disk, their weights never read by what is tested."""

import json
from dataclasses import replace

import pytest

from prosopon.doctor.blueprint import Blueprint, Matrix
from prosopon.doctor.headers import StoredTensor
from prosopon.doctor.machine import Machine


def save_header(folder, model):
    """Write a model as its folder; tied weights once, as the library does."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: p.detach().clone() for name, p in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config.to_dict()))
    return folder


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """Return ``folder_of(family)``: (folder, model) of a tiny model, made once."""
    from tests.tiny import tiny_model

    made = {}

    def make(family):
        if family not in made:
            model, _ = tiny_model(family)
            made[family] = save_header(tmp_path_factory.mktemp(family), model), model
        return made[family]

    return make


@pytest.fixture
def big():
    """A Llama of eight billion parameters: no file of it is anywhere."""
    layers, hidden, inner, kv, words = 32, 4096, 14336, 1024, 128256
    shapes = {
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden), "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }  # fmt: skip
    sites = tuple(
        Matrix(f"model.layers.{layer}.{name}", *shape)
        for layer in range(layers)
        for name, shape in shapes.items()
    )
    tensors = [
        StoredTensor(f"{s.name}.weight", (s.rows, s.columns), "BF16", 2 * s.weights) for s in sites
    ]
    for name in ("model.embed_tokens", "lm_head"):
        tensors.append(StoredTensor(f"{name}.weight", (words, hidden), "BF16", 2 * words * hidden))
    config = {
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": words, "max_position_embeddings": 131072,
    }  # fmt: skip
    return Blueprint("big", "/big", "llama", tuple(tensors), sites, config, "bfloat16")


@pytest.fixture
def machine():
    """A machine of 32 GB without a graphics card."""
    return Machine("Linux x86_64", "3.12.0", 8, 32 * 10**9, 30 * 10**9, ())


@pytest.fixture
def small(machine):
    """A machine of 8 GB."""
    return replace(machine, memory=8 * 10**9, free=6 * 10**9)
