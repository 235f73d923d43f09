"""What a structured export saves: decoding with a quarter of the MLP channels removed.

python -m benchmarks.structured [--rounds 15] [--tokens 24]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from prosopon.export import export_persona
from prosopon.files import write_json
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


def structured_decode(repeats: int, tokens: int = 24) -> dict[str, Any]:
    """Decoding with the structured export, in turns with the dense model it came from.

    Args:
        repeats: Pairs of runs that count; one before them does not.
        tokens: Steps of a run.

    Returns:
        Medians in seconds a token, the median ratio of the export to the dense model (below 1 is
        faster) with its range, the speed-up, the ratio of the best runs (what remains where other
        work disturbs the machine), and the numbers of parameters.
    """
    from transformers import AutoModelForCausalLM

    dense = random_llama()
    with tempfile.TemporaryDirectory() as folder:
        report = export_persona(
            dense,
            None,
            channel_persona(dense, 0.25),
            format="structured",
            output=Path(folder) / "small",
        )
        small = AutoModelForCausalLM.from_pretrained(Path(folder) / "small").eval()
    ours, theirs = [], []
    for _ in range(repeats + 1):
        theirs.append(decode(dense, tokens))
        ours.append(decode(small, tokens))
    ours, theirs = ours[1:], theirs[1:]
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "name": "structured export, 25 percent of MLP channels, one token",
        "baseline": "dense decode",
        "seconds": statistics.median(ours),
        "baseline_seconds": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "speed_up": 1 / statistics.median(ratios),
        "best_ratio": min(ours) / min(theirs),
        "repeats": repeats,
        "parameters": report["parameters"],
        "baseline_parameters": report["parameters_before"],
        "logits_error": report["logits_error"],
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--out", type=Path, help="Write the result here as JSON.")
    args = parser.parse_args()
    result = structured_decode(args.rounds, args.tokens)
    if args.out:
        write_json(args.out, result)
    low, high = result["ratio_range"]
    print(
        f"{result['name']} / {result['baseline']}: {result['ratio']:.2f} ({low:.2f} to "
        f"{high:.2f}), {result['speed_up']:.2f} times as fast, best runs "
        f"{1 / result['best_ratio']:.2f}; {result['parameters']:,} of "
        f"{result['baseline_parameters']:,} parameters"
    )


if __name__ == "__main__":
    main()
