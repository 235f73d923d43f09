"""Run every benchmark and write ``benchmarks/results/*.json``.

python -m benchmarks [--out benchmarks/results] [--repeats 5]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from prosopon import __version__
from prosopon.data import bundled, encode_all, length_buckets
from prosopon.extraction import Extractor
from prosopon.files import write_json
from prosopon.models import find_sites, load_model
from prosopon.runtime import PersonaModel
from prosopon.statistics import collect_statistics
from prosopon.statistics.forward import inputs, trunk

FORMAT_VERSION = 1


def seconds(work: Callable[[], Any], repeats: int) -> list[float]:
    """Return the wall time of each of ``repeats`` runs, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


def compare(
    name: str,
    work: Callable[[], Any],
    baseline_name: str,
    baseline: Callable[[], Any],
    repeats: int,
) -> dict[str, Any]:
    """Time two things in turns and return medians and their ratio."""
    ours, theirs = [], []
    for _ in range(repeats):
        theirs += seconds(baseline, 1)
        ours += seconds(work, 1)
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


def statistics_pass(repeats: int) -> dict[str, Any]:
    """Collecting statistics against the bare forward pass over the same batches."""
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    sites, body = find_sites(model), trunk(model)
    encoded = encode_all(bundled.load("extravert").examples, tokenizer)
    batches = list(length_buckets(encoded))

    def bare() -> None:
        with torch.no_grad():
            for batch in batches:
                body(**inputs(body, batch))

    def collect() -> None:
        collect_statistics(model, sites, encoded)

    return compare("statistics pass", collect, "bare forward pass", bare, repeats)


def light_switch(repeats: int) -> dict[str, Any]:
    """Switching between two light masks against copying every weight of the sites."""
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    extractor = Extractor(model, tokenizer, name="embedded")
    masks = [
        extractor.extract(bundled.load(a), bundled.load(b), options={"rounds": 2})
        for a, b in (("extravert", "introvert"), ("bold", "cautious"))
    ]
    spare = [site.matrix().clone() for site in extractor.sites]

    def copy_all() -> None:
        for _ in range(20):
            for site, values in zip(extractor.sites, spare, strict=True):
                site.matrix().copy_(values)

    with PersonaModel(model, tokenizer) as wearer:
        names = [wearer.load_persona(mask) for mask in masks]

        def switch() -> None:
            for _ in range(10):
                wearer.set_persona(names[0])
                wearer.set_persona(names[1])

        result = compare("20 light switches", switch, "20 copies of all sites", copy_all, repeats)
        wearer.disable()
    return result


def commit() -> str:
    """Return the commit that is measured, or "unknown" outside a repository."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    results = [statistics_pass(args.repeats), light_switch(args.repeats)]
    record = {
        "format_version": FORMAT_VERSION,
        "prosopon": __version__,
        "commit": commit(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
        "model": "embedded",
        "results": results,
    }
    write_json(args.out / "first-light.json", record)
    for row in results:
        low, high = row["ratio_range"]
        print(f"{row['name']} / {row['baseline']}: {row['ratio']:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
