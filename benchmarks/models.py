"""Models and texts that benchmarks run on: random, seeded, nothing is downloaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from prosopon.data import Encoded

VOCABULARY = 4096


def random_llama(
    hidden: int = 768, layers: int = 8, intermediate: int = 2048, *, seed: int = 0
) -> Any:
    """Build a random Llama in float32, on the CPU, without gradients.

    The defaults give 62.9 million parameters: 8 layers of 7.08 million and an embedding and a
    head of 3.15 million each.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=512,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return model.eval().requires_grad_(False)


def random_texts(count: int, length: int, *, seed: int = 0) -> list[Encoded]:
    """Return texts of random tokens, all of them in scope."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (count, length), generator=generator).tolist()
    return [Encoded(row, [True] * length, [True] * length) for row in ids]


def parameters(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(each.numel() for each in model.parameters())


def size(model: nn.Module) -> int:
    """Return the bytes of the parameters."""
    return sum(each.numel() * each.element_size() for each in model.parameters())
