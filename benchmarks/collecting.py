"""The statistics pass against the bare forward pass over the same batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.base import Row, benchmark, compare
from benchmarks.models import parameters, random_llama, random_texts
from prosopon.data import Encoded, length_buckets
from prosopon.lm.forward import inputs, trunk
from prosopon.models import find_sites
from prosopon.statistics import collect_statistics

GOAL = 1.10
TOKENS = 4096  # of a batch


@benchmark("statistics-pass", "statistics", "collecting statistics / bare forward pass, 63M Llama")
def statistics_pass(repeats: int) -> list[Row]:
    """A random Llama of 63 million parameters, one batch of 16 texts of 256 tokens."""
    model = random_llama()
    texts = random_texts(16, 256)
    return [_against_bare("statistics pass", model, texts, repeats, goal=GOAL)]


@benchmark("statistics-embedded", "statistics", "the same on the embedded model and real examples")
def statistics_embedded(repeats: int) -> list[Row]:
    """The embedded model on a bundled persona: many short texts, a small model."""
    from prosopon.data import bundled, encode_all
    from prosopon.models import load_model

    loaded = load_model("embedded", device="cpu")
    texts = encode_all(bundled.load("extravert").examples, loaded.tokenizer)
    return [_against_bare("statistics pass, embedded model", loaded.model, texts, repeats)]


def _against_bare(
    name: str, model: nn.Module, texts: Sequence[Encoded], repeats: int, **more: Any
) -> Row:
    sites, body = find_sites(model), trunk(model)
    batches = list(length_buckets(texts, max_tokens=TOKENS))

    def bare() -> None:
        with torch.no_grad():
            for batch in batches:
                body(**inputs(body, batch))

    return compare(
        name,
        lambda: collect_statistics(model, sites, texts, max_tokens=TOKENS),
        "bare forward pass",
        bare,
        repeats,
        parameters=parameters(model),
        texts=len(texts),
        tokens=sum(len(text) for text in texts),
        **more,
    )
