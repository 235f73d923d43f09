"""Peak memory of sequential extraction against the size of the model.

Each measurement is a process of its own.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.base import Row, benchmark

LAYERS = 24
SHAPE = {
    "vocab_size": 2048,
    "hidden_size": 768,
    "intermediate_size": 2304,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "num_hidden_layers": LAYERS,
    "max_position_embeddings": 512,
}
"""About 187 million parameters, 750 MB in float32; a layer is 31 MB."""

TINY = SHAPE | {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 1}
EXAMPLES = 32


@benchmark("sequential-memory", "memory", "peak memory of extraction / size of the model")
def sequential_memory(repeats: int) -> list[Row]:
    """Layer by layer from disk, and the whole model in memory."""
    sequential = peak_memory(repeats) | {"goal": 0.5}
    return [sequential, peak_memory(repeats, kind="normal") | {"goal": 1.6}]


def peak_memory(repeats: int = 1, *, kind: str = "sequential") -> dict[str, Any]:
    """Return the peak memory of extracting a mask, over the size of the model's weights.

    Each repeat is a process of its own, which first extracts from a tiny model, so that what
    imports and libraries take is there before the measurement; that much is subtracted.

    Args:
        repeats: Processes to start.
        kind: ``"sequential"`` or ``"normal"``.
    """
    with tempfile.TemporaryDirectory() as folder:
        size = _save(Path(folder) / "model", SHAPE)
        _save(Path(folder) / "tiny", TINY)
        runs = [_child(kind, Path(folder), number) for number in range(repeats)]
    ratios = sorted(run["bytes"] / size for run in runs)
    middle = sorted(runs, key=lambda run: run["bytes"])[len(runs) // 2]
    return {
        "name": f"peak memory of {kind} extraction",
        "baseline": "the model's weights",
        "bytes": middle["bytes"],
        "baseline_bytes": size,
        "seconds": middle["seconds"],
        "ratio": middle["bytes"] / size,
        "ratio_range": [ratios[0], ratios[-1]],
        "repeats": repeats,
    }


def _save(folder: Path, shape: dict[str, int]) -> int:
    """Save a random Llama with the embedded model's tokenizer; return the bytes of its weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from prosopon.models import load_model

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**shape))
    model.save_pretrained(folder)
    load_model("embedded", device="cpu").tokenizer.save_pretrained(folder)
    return sum(item.numel() * item.element_size() for item in model.parameters())


def _child(kind: str, folder: Path, number: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sequential", kind, str(folder), str(number)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _measure(kind: str, folder: Path, number: str) -> None:
    """Print the peak of one extraction above what the process had before."""
    work = {"sequential": _sequential, "normal": _normal}[kind]
    work(folder / "tiny", folder / f"tiny-mask-{kind}-{number}")
    before = _reset()
    began = time.perf_counter()
    work(folder / "model", folder / f"mask-{kind}-{number}")
    seconds = time.perf_counter() - began
    print(json.dumps({"bytes": _status("VmHWM") - before, "seconds": seconds}))


def _personas() -> tuple[Any, Any]:
    from prosopon.data import load_persona

    return load_persona("bold", limit=EXAMPLES), load_persona("cautious", limit=EXAMPLES)


def _sequential(model: Path, output: Path) -> None:
    from prosopon.layerwise import SequentialSettings, extract_sequential

    settings = SequentialSettings(work_dir=output.with_name(f"work-{output.name}"))
    extract_sequential(
        model, *_personas(), output=output, criterion="contrastive-wanda", settings=settings
    )


def _normal(model: Path, output: Path) -> None:
    from prosopon.extraction import Extractor
    from prosopon.models import load_model

    loaded = load_model(model, device="cpu")
    extractor = Extractor(loaded.model, loaded.tokenizer)
    mask = extractor.extract(*_personas(), criterion="contrastive-wanda")
    mask.save_pretrained(output)


def _reset() -> int:
    """Give free memory back, forget the peak so far, and return what is left, in bytes."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> int:
    """Return a size from /proc/self/status (Linux only), in bytes; mapped files count."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    _measure(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
