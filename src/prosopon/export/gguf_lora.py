"""``gguf-lora``: the mask as a LoRA adapter of llama.cpp, small beside one base file for all.

llama.cpp adds ``scale * alpha / rank * B A x`` to what a matrix computes. The factors are those
of ``lora`` with alpha equal to the rank, so that at scale s pruned weights count 1 - s of what
they were. Rows of B that belong to queries and keys are in llama.cpp's order, as those of its
weights are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prosopon.export.base import FORMATS, Format, Job
from prosopon.export.fidelity import divergence
from prosopon.export.gguf import write_model, write_tensors
from prosopon.export.gguf_tensors import architecture, translated
from prosopon.export.lora import LoraOptions, MaskFactors, make_adapter
from prosopon.subnetwork import portable_name

if TYPE_CHECKING:
    from torch import Tensor

FILE, BASE = "adapter.gguf", "base.gguf"
"""The files in the exported folder."""


class GgufLoraOptions(LoraOptions):
    """Options of ``gguf-lora``."""

    base: bool = False  # also write the base model, as base.gguf


def write_gguf_lora(job: Job, folder: Path) -> dict[str, Any]:
    """Write ``adapter.gguf``; refuses models that llama.cpp's architectures cannot express."""
    from gguf import GGUFWriter, Keys

    config = job.model.config
    kind = architecture(config)
    adapter = make_adapter(job)
    writer = GGUFWriter(folder / FILE, kind.name)
    try:
        writer.add_type("adapter")
        writer.add_name(f"{job.subnetwork.config.persona} for {portable_name(job.base_model)}")
        writer.add_string(Keys.Adapter.TYPE, "lora")
        writer.add_float32(Keys.Adapter.LORA_ALPHA, float(adapter.rank))
        count = write_tensors(writer, lambda: _tensors(adapter, config, kind))
    finally:
        writer.close()
    file = {"file": FILE, "architecture": kind.name, "tensors": count}
    if job.options.base:
        name = portable_name(job.base_model)
        file["base"] = write_model(folder / BASE, job.model, job.tokenizer, name)["file"]
    return file | adapter.report() | divergence(job, adapter.factors)


def _tensors(adapter: MaskFactors, config: Any, kind: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield A [rank, in] and B [out, rank] of every site, under llama.cpp's names."""
    sites = {f"{site}.weight": pair for site, pair in adapter.factors.items()}
    tall = ((name, pair[0]) for name, pair in sites.items())
    for (name, turned), (_, wide) in zip(
        translated(tall, config, kind), sites.values(), strict=True
    ):
        yield f"{name}.lora_a", wide
        yield f"{name}.lora_b", turned


FORMATS.add(
    "gguf-lora",
    Format(
        "gguf-lora",
        "a LoRA adapter for llama.cpp, beside one GGUF file of the base model",
        "# llama-cli -m base.gguf --lora {folder}/adapter.gguf\n"
        "# at half strength: --lora-scaled {folder}/adapter.gguf:0.5",
        write_gguf_lora,
        GgufLoraOptions,
        ("gguf",),
        is_adapter=True,
    ),
)
