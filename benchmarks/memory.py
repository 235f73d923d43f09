"""The peak memory of an extraction against the size of the model, in processes of their own.

A child measures its resident memory after all imports, builds the model, extracts, and reports
the highest resident memory the system saw. From that the memory before the model is taken away:
what is left is the model, its masks, and whatever the extraction needed beside them.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.base import Row, benchmark

GOAL = 1.6
SIZES = {"63M": (768, 8, 2048), "163M": (1024, 12, 2816)}
TEXTS, LENGTH = 16, 256


@benchmark("extraction-memory", "memory", "peak memory of an extraction / size of the model")
def extraction_memory(repeats: int) -> list[Row]:
    """Contrastive-Wanda in rows, on two random Llamas in float32."""
    return [_row(name, "contrastive-wanda", "row", repeats) for name in SIZES]


def _row(size: str, criterion: str, pattern: str, repeats: int) -> Row:
    runs = [_in_child(size, criterion, pattern) for _ in range(repeats)]
    ratios = [run["over_baseline"] / run["model_bytes"] for run in runs]
    return {
        "name": f"extraction, {criterion}, {pattern}, {size} Llama",
        "baseline": "size of the model",
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "raw_ratio": statistics.median(run["peak_bytes"] / run["model_bytes"] for run in runs),
        "repeats": repeats,
        "goal": GOAL,
        "texts": 2 * TEXTS,
        "length": LENGTH,
        **{key: statistics.median(run[key] for run in runs) for key in runs[0]},
    }


def _in_child(*arguments: str) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    found: dict[str, int] = json.loads(done.stdout)
    return found


def _child(size: str, criterion: str, pattern: str) -> dict[str, int]:
    from transformers import LlamaForCausalLM

    from benchmarks import models
    from prosopon.extraction import Extractor

    assert LlamaForCausalLM  # the architecture's code belongs to the baseline
    baseline = resident()
    model = models.random_llama(*SIZES[size])
    built = peak()
    extractor = Extractor(model, tokenizer=None, name="random")
    sides = {
        name: models.random_texts(TEXTS, LENGTH, seed=seed)
        for seed, name in enumerate(("target", "opposite"))
    }
    # Random tokens stand for a tokenizer's work, which costs no memory to speak of.
    extractor.collector.encode = (  # type: ignore[method-assign]
        lambda persona, scope: sides[persona.name]
    )
    extractor.extract(
        _persona("target"), _persona("opposite"), criterion=criterion, pattern=pattern
    )
    return {
        "parameters": models.parameters(model),
        "model_bytes": models.size(model),
        "baseline_bytes": baseline,
        "built_bytes": built - baseline,
        "peak_bytes": peak(),
        "over_baseline": peak() - baseline,
    }


def _persona(name: str) -> Any:
    from prosopon.data import Example, Message, Persona

    messages = (Message("user", name), Message("assistant", name))
    return Persona(name, (Example(messages),) * TEXTS)


def peak() -> int:
    """Return the highest resident memory of this process so far, in bytes.

    Where the system says it, from ``VmHWM``: Linux hands ``ru_maxrss`` on to a child, so that a
    large parent would be measured in its place.
    """
    status = Path("/proc/self/status")
    lines = status.read_text("ascii").splitlines() if status.is_file() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
    if found:
        return found[0]
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident() -> int:
    """Return the resident memory now, in bytes; the peak so far where the system does not say."""
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        return peak()
    return int(statm.read_text("ascii").split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    print(json.dumps(_child(*sys.argv[1:])))
