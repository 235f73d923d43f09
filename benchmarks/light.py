"""The peak memory of finding a light mask against the size of the model, in a process of its own.

Weights, the gradients of half of them while candidates are found, and what is kept for a
twentieth of them: about 1.8 times the model. Activations come on top and grow with the tokens of
one backward pass, so those are few here, as they would be where memory is short.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.base import Row, benchmark

GOAL = 2.2
SHAPE = (1024, 12, 2816)
PAIRS, GENERAL, LENGTH, TOKENS, ROUNDS = 8, 8, 64, 128, 3


@benchmark("light-memory", "memory", "peak memory of finding a light mask / size of the model")
def light_memory(repeats: int) -> list[Row]:
    """A random Llama of 170 million parameters in float32, 128 tokens in a backward pass."""
    runs = [_in_child() for _ in range(repeats)]
    ratios = [run["over_baseline"] / run["model_bytes"] for run in runs]
    row: Row = {
        "name": "light mask, contrastive-taylor, 170M Llama",
        "baseline": "size of the model",
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "repeats": repeats,
        "goal": GOAL,
        "tokens": TOKENS,
        "rounds": ROUNDS,
    }
    return [row | {key: statistics.median(run[key] for run in runs) for key in runs[0]}]


def _in_child() -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.light"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    found: dict[str, int] = json.loads(done.stdout)
    return found


def _child() -> dict[str, int]:
    from transformers import LlamaForCausalLM

    from benchmarks import models
    from benchmarks.memory import peak, resident
    from prosopon.criteria import CRITERIA, LightOptions
    from prosopon.extraction.light import LightPath, candidates
    from prosopon.gradients import Material, fisher_diagonal, pair_log_odds
    from prosopon.models import find_sites

    candidates.free_memory = lambda device: 0  # as where memory is short
    assert LlamaForCausalLM  # the architecture's code belongs to the baseline
    baseline = resident()
    model = models.random_llama(*SHAPE)
    sites = find_sites(model)
    sides = [models.random_texts(PAIRS, LENGTH, seed=seed) for seed in (0, 1)]
    pairs = list(zip(*sides, strict=True))
    general = models.random_texts(GENERAL, LENGTH, seed=2)
    material = Material(pairs, pair_log_odds(model, pairs, max_tokens=TOKENS), general)
    most = int(0.006 * sum(site.out_features * site.in_features for site in sites))
    path = LightPath(
        model,
        sites,
        material,
        CRITERIA.get("contrastive-taylor"),  # type: ignore[arg-type]
        LightOptions(target_weight=1.0, general_weight=1.0),
        largest=most,
        fisher=lambda at: fisher_diagonal(model, sites, general, at=at, max_tokens=TOKENS),
        max_tokens=TOKENS,
    )
    for _ in path.grow(most, ROUNDS):
        pass
    assert len(path.ranking(most)) > 0
    return {
        "parameters": models.parameters(model),
        "model_bytes": models.size(model),
        "baseline_bytes": baseline,
        "over_baseline": peak() - baseline,
    }


if __name__ == "__main__":
    print(json.dumps(_child()))
