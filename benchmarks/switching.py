"""Switching and mixed batches against copying, re-masking, the dense step and row by row."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from benchmarks.base import Row, benchmark, compare, seconds
from benchmarks.models import random_llama
from prosopon.models import Site, find_sites, fingerprint, load_model
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import CalibrationRecord, FingerprintRecord, Subnetwork, SubnetworkConfig

LIGHT = 0.002  # share that the light masks prune
DIFFERENCE = 0.0134  # of the two ends of an axis: the paper's table, I against E


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


@benchmark("heavy-switch", "runtime", "two 50 percent masks / re-masking, and the copy floor")
def heavy_switch(repeats: int) -> list[Row]:
    """Two 50 percent masks: against two ways of re-masking, and against the floor."""
    model = random_llama()
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


def _light_switch(model: Any, name: str, repeats: int, *, share: float = LIGHT) -> Row:
    """Two light masks against copying all weights of the sites."""
    sites = find_sites(model)
    with PersonaModel(model) as wearer:
        names = [wearer.load_persona(mask) for mask in light(sites, 2, share)]
        switch = _there_and_back(wearer, names, 5)
        switch()
        title = f"10 light switches ({share:.1%} pruned), {name}"
        return compare(title, switch, "10 copies of all sites", _copy(sites, 10), repeats)


def _mixed_batch(model: Any, name: str, repeats: int, *, share: float = LIGHT) -> list[Row]:
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
    return min(seconds(work) for _ in range(times))


def _models() -> list[tuple[Any, str]]:
    embedded = load_model("embedded", device="cpu").model
    return [(random_llama(), "Llama of 63 million parameters"), (embedded, "embedded model")]


@benchmark("light-switch", "runtime", "switching between two light masks / copying all weights")
def light_switch(repeats: int) -> list[Row]:
    """A random Llama and the embedded model."""
    return [_light_switch(model, name, repeats) for model, name in _models()]


@benchmark("mixed-batch", "runtime", "8 rows with 8 personas / the dense step, row by row")
def mixed_batch(repeats: int) -> list[Row]:
    """A random Llama and the embedded model."""
    return [row for model, name in _models() for row in _mixed_batch(model, name, repeats)]
