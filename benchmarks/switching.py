"""Switching and mixed batches against copying, re-masking, the dense step and row by row.

python -m benchmarks.switching [--repeats 7]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from prosopon.models import Site, find_sites, fingerprint, load_model
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import CalibrationRecord, FingerprintRecord, Subnetwork, SubnetworkConfig

LIGHT = 0.002  # share that the light masks of the embedded model prune, about
DIFFERENCE = 0.0134  # of the two ends of an axis: the paper's table, I against E


def llama(hidden: int = 768, layers: int = 8) -> Any:
    """Build a random Llama of about 60 million parameters."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=12,
        num_key_value_heads=12,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def subnetwork(name: str, keep: dict[str, Tensor], sites: list[Site]) -> Subnetwork:
    """Wrap masks for a model."""
    found = FingerprintRecord(**asdict(fingerprint(sites)))
    calibration = CalibrationRecord(target_hash="", target_count=0)
    config = SubnetworkConfig(
        persona=name,
        base_model="random",
        fingerprint=found,
        criterion="random",
        pattern="global",
        calibration=calibration,
    )
    return Subnetwork(keep, config)


def light(sites: list[Site], count: int, share: float = LIGHT) -> list[Subnetwork]:
    """Draw light masks."""
    return [
        subnetwork(f"light {number}", {s.name: torch.rand(s.shape) >= share for s in sites}, sites)
        for number in range(count)
    ]


def heavy_pair(sites: list[Site]) -> list[Subnetwork]:
    """Draw two 50 percent masks that differ in 1.3 percent of the weights."""
    one = {site.name: torch.rand(site.shape) >= 0.5 for site in sites}
    other = {name: mask ^ (torch.rand(mask.shape) < DIFFERENCE) for name, mask in one.items()}
    return [subnetwork("heavy 0", one, sites), subnetwork("heavy 1", other, sites)]


def compare(
    name: str,
    work: Callable[[], Any],
    baseline_name: str,
    baseline: Callable[[], Any],
    repeats: int,
) -> dict[str, Any]:
    """Time two things in turns, each after one run that does not count, and take medians."""
    ours, theirs = [], []
    for _ in range(repeats):
        for call, times in ((baseline, theirs), (work, ours)):
            call()
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "name": name,
        "baseline": baseline_name,
        "seconds": statistics.median(ours),
        "baseline_seconds": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "repeats": repeats,
    }


def _there_and_back(wearer: PersonaModel, names: list[str], times: int = 1) -> Callable[[], None]:
    def switch() -> None:
        for _ in range(times):
            wearer.set_persona(names[0])
            wearer.set_persona(names[1])

    return switch


def _copy(sites: list[Site], times: int) -> Callable[[], None]:
    spare = [site.matrix().clone() for site in sites]

    def copy() -> None:
        for _ in range(times):
            for site, values in zip(sites, spare, strict=True):
                site.matrix().copy_(values)

    return copy


def heavy_switch(repeats: int) -> list[dict[str, Any]]:
    """Two 50 percent masks: against two ways of re-masking, and against the floor."""
    model = llama()
    sites = find_sites(model)
    pair = heavy_pair(sites)
    originals = [site.matrix().clone() for site in sites]
    drops = [[~mask.keep[site.name] for site in sites] for mask in pair]
    keeps = [[mask.keep[site.name] for site in sites] for mask in pair]
    changed = sum(int((a ^ b).sum()) for a, b in zip(*drops, strict=True))
    source, sink = torch.zeros(changed), torch.zeros(changed)

    def fill() -> None:
        for drop in drops:
            for site, original, each in zip(sites, originals, drop, strict=True):
                site.matrix().copy_(original).masked_fill_(each, 0.0)

    def multiply() -> None:
        for keep in keeps:
            for site, original, each in zip(sites, originals, keep, strict=True):
                torch.mul(original, each, out=site.matrix())

    def floor() -> None:
        sink.copy_(source)
        source.copy_(sink)

    results = []
    name = "2 switches between 50% masks that differ in 1.3%"
    with PersonaModel(model) as wearer:
        switch = _there_and_back(wearer, [wearer.load_persona(mask) for mask in pair])
        switch()
        for baseline_name, baseline in (
            ("copying all weights and zeroing the pruned ones", fill),
            ("multiplying all weights by the mask in one pass", multiply),
            ("copying as many bytes as change", floor),
        ):
            # Re-masking writes the live weights too; the switches must find their own.
            results.append(compare(name, switch, baseline_name, baseline, repeats))
    return results


def light_switch(model: Any, name: str, repeats: int, *, share: float = LIGHT) -> dict[str, Any]:
    """Two light masks against copying all weights of the sites."""
    sites = find_sites(model)
    with PersonaModel(model) as wearer:
        names = [wearer.load_persona(mask) for mask in light(sites, 2, share)]
        switch = _there_and_back(wearer, names, 5)
        switch()
        title = f"10 light switches ({share:.1%} pruned), {name}"
        return compare(title, switch, "10 copies of all sites", _copy(sites, 10), repeats)


def mixed_batch(model: Any, name: str, repeats: int, *, share: float = LIGHT) -> list[Any]:
    """Eight rows with eight light masks: one decoding step against dense and row by row."""
    from transformers import DynamicCache

    sites = find_sites(model)
    ids = torch.randint(3, model.config.vocab_size, (8, 16))

    def decoder(rows: Tensor) -> Callable[[], None]:
        cache = DynamicCache(config=model.config)
        model(rows, past_key_values=cache)

        def step() -> None:
            with torch.no_grad():
                model(rows[:, -1:], past_key_values=cache)
            cache.crop(-1)

        return step

    with torch.no_grad(), PersonaModel(model) as wearer:
        names = [wearer.load_persona(mask) for mask in light(sites, 8, share)]
        dense = decoder(ids)
        alone = [decoder(ids[number : number + 1]) for number in range(8)]

        def row_by_row() -> None:
            for persona, step in zip(names, alone, strict=True):
                wearer.set_persona(persona)
                step()

        title = f"step of 8 rows with 8 light masks ({share:.1%}), {name}"
        with wearer.mixed(names):
            mixed = decoder(ids)
        results = []
        ours, theirs, rows = [], [], []
        for _ in range(repeats):
            theirs.append(_seconds(dense))
            with wearer.mixed(names):
                ours.append(_seconds(mixed))
            rows.append(_seconds(row_by_row))
            wearer.disable()
        for baseline, times in (("dense step of 8 rows", theirs), ("switching row by row", rows)):
            ratios = [a / b for a, b in zip(ours, times, strict=True)]
            results.append(
                {
                    "name": title,
                    "baseline": baseline,
                    "seconds": statistics.median(ours),
                    "baseline_seconds": statistics.median(times),
                    "ratio": statistics.median(ratios),
                    "ratio_range": [min(ratios), max(ratios)],
                    "repeats": repeats,
                }
            )
    return results


def _seconds(work: Callable[[], None], times: int = 3) -> float:
    """Return the least wall time of a few runs, after one that does not count."""
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def run(repeats: int) -> list[dict[str, Any]]:
    """Run all benchmarks of switching and return their results."""
    embedded = load_model("embedded", device="cpu").model
    results = heavy_switch(repeats)
    for model, name in ((llama(), "Llama of 60 million parameters"), (embedded, "embedded model")):
        results.append(light_switch(model, name, repeats))
        results += mixed_batch(model, name, repeats)
    return results


def main() -> None:
    """Run and print as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    results = run(parser.parse_args().repeats)
    for row in results:
        low, high = row["ratio_range"]
        print(f"{row['name']} / {row['baseline']}: {row['ratio']:.4f} ({low:.4f} to {high:.4f})")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
