"""Wear one mask on a model and on its quantised copies, and measure what it moves on each.

python tools/measure_quantised.py personas/cold --model smollm2 --target library:cold

Needs pip install 'prosopon[quantised]'. The margin is that of the persona's answers over the
other ones, in nats a token, on pairs that the mask was not made from.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prosopon.data import encode_all, load_contrast
from prosopon.data.pairs import EncodedPair, pair_examples
from prosopon.data.splits import leave_out
from prosopon.experiments.markdown import grid
from prosopon.gradients import pair_log_odds
from prosopon.models import load_model, resolve_source
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import Subnetwork

HEAD = ("weights", "margin, base", "margin, worn", "moved", "seconds, base", "seconds, worn")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("persona", type=Path)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--target", required=True)
    parser.add_argument("--pairs", type=int, default=24)
    given = parser.parse_args()
    mask = Subnetwork.from_pretrained(given.persona)
    loaded = load_model(given.model, device="cpu")
    known = mask.config.calibration.prompt_hashes or ()
    sides = leave_out(load_contrast(given.target, None), known)
    examples = pair_examples(*(side.examples for side in sides))[: given.pairs]
    ours, theirs = (
        encode_all(side, loaded.tokenizer, max_length=512) for side in zip(*examples, strict=True)
    )
    pairs = list(zip(ours, theirs, strict=True))
    rows = [measure("as it is", loaded.model, mask, pairs)]
    for name, model in copies(resolve_source(given.model)):
        print(*rows[-1], sep=", ", file=sys.stderr)
        rows.append(measure(name, model, mask, pairs))
    print("\n".join(grid(HEAD, rows)))


def copies(source: str) -> Iterator[tuple[str, Any]]:
    """Yield every kind's name and the model that it is quantised to, on the CPU."""
    import torch
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, TorchAoConfig

    kinds = {
        "torchao, int8 weights": TorchAoConfig(Int8WeightOnlyConfig()),
        "torchao, int8 weights and activations": TorchAoConfig(
            Int8DynamicActivationInt8WeightConfig()
        ),
        "bitsandbytes, 8 bits": BitsAndBytesConfig(load_in_8bit=True),
        "bitsandbytes, nf4": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
        ),
    }
    for name, quantisation in kinds.items():
        model = AutoModelForCausalLM.from_pretrained(
            source, quantization_config=quantisation, device_map="cpu", dtype=torch.float32
        )
        yield name, model.eval().requires_grad_(False)


def measure(name: str, model: Any, mask: Subnetwork, pairs: list[EncodedPair]) -> tuple[str, ...]:
    """Return a row: the mean margin, in nats a token, and the time of the base and worn."""
    tokens = sum(sum(side.response) for pair in pairs for side in pair) / 2
    figures: list[tuple[float, float]] = []
    with PersonaModel(model, quantised_from=mask.config.base_model) as wearer:
        for persona in (None, wearer.load_persona(mask)):
            wearer.set_persona(persona)
            began = time.perf_counter()
            margin = float(pair_log_odds(model, pairs).sum()) / tokens
            figures.append((margin, time.perf_counter() - began))
    (base, quick), (worn, slow) = figures
    return (
        name, f"{base:.3f}", f"{worn:.3f}", f"{worn - base:.3f}", f"{quick:.1f}", f"{slow:.1f}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
