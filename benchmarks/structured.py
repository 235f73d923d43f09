"""What a structured export saves: decoding with a quarter of the MLP channels removed."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.base import Row, benchmark
from prosopon.export import export_persona
from prosopon.models import find_groups, find_sites, fingerprint
from prosopon.subnetwork import CalibrationRecord, FingerprintRecord, Subnetwork, SubnetworkConfig

SHAPE = {
    "vocab_size": 4096,
    "hidden_size": 1024,
    "intermediate_size": 3584,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
"""A Llama of 59 million parameters with the proportions of Llama 3 8B: three quarters MLP."""


SHARE, TOKENS = 0.25, 16
TURNS = 30  # at least: a gain of a fifth is soon lost in what else a machine does


def random_llama() -> Any:
    """Return a seeded random Llama of :data:`SHAPE`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE)).eval().requires_grad_(False)


def channel_persona(model: Any, share: float) -> Subnetwork:
    """Prune a random ``share`` of the MLP channels of every layer."""
    sites = find_sites(model, targets=["*.mlp.*"])
    keep = {site.name: torch.ones(site.shape, dtype=torch.bool) for site in sites}
    generator = torch.Generator().manual_seed(0)
    for group in find_groups(model, sites, "channels"):
        order = torch.randperm(group.units, generator=generator)
        kept = torch.ones(group.units, dtype=torch.bool)
        kept[order[: round(share * group.units)]] = False
        for name in group.sites:
            group.prune(name, keep[name], kept)
    config = SubnetworkConfig(
        persona="random",
        base_model="random",
        fingerprint=FingerprintRecord(**asdict(fingerprint(sites))),
        criterion="random",
        pattern="channels",
        calibration=CalibrationRecord(target_hash="", target_count=0),
    )
    return Subnetwork(keep, config)


@torch.no_grad()
def decode(model: Any, tokens: int) -> float:
    """Return the median seconds of single-token steps with a cache, after a short prompt.

    The median step of a run is what the model needs; the mean of a busy machine is not.
    """
    given = model(torch.arange(8).unsqueeze(0), use_cache=True)
    times = []
    for _ in range(tokens):
        token = given.logits[:, -1:].argmax(-1)
        began = time.perf_counter()
        given = model(token, past_key_values=given.past_key_values, use_cache=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


@benchmark(
    "structured-decode", "export", "decoding with a structured export / with the dense model"
)
def structured_decode(repeats: int) -> list[Row]:
    """Single-token decoding with a quarter of the MLP channels removed, in turns with the dense.

    ``ratio`` is the median over the turns (goal 1 / 1.15). ``best_ratio`` compares the best
    runs, which is what remains where other work disturbs the machine.
    """
    from transformers import AutoModelForCausalLM

    dense = random_llama()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "small"
        persona = channel_persona(dense, SHARE)
        report = export_persona(dense, None, persona, format="structured", output=output)
        small = AutoModelForCausalLM.from_pretrained(output).eval()
    decode(dense, 2)
    decode(small, 2)
    pairs = [(decode(dense, TOKENS), decode(small, TOKENS)) for _ in range(max(repeats, TURNS))]
    ratios = [ours / theirs for theirs, ours in pairs]
    row = {
        "name": "a token with 25 percent of MLP channels removed",
        "baseline": "a token of the dense model",
        "seconds": statistics.median(ours for _, ours in pairs),
        "baseline_seconds": statistics.median(theirs for theirs, _ in pairs),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "best_ratio": min(ours for _, ours in pairs) / min(theirs for theirs, _ in pairs),
        "repeats": len(pairs),
        "goal": round(1 / 1.15, 3),
        "model": "random Llama",
        "parameters": report["parameters"],
        "baseline_parameters": report["parameters_before"],
        "logits_error": report["logits_error"],
    }
    return [row]
