"""Tiny GGUF files, written with the gguf package tensor by tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from prosopon.export.gguf import _add_vocabulary
from prosopon.export.gguf_tensors import add_numbers, architecture, tensors
from prosopon.export.gguf_vocabulary import vocabulary
from tests.tiny import tiny_model


def write_tiny(
    path: Path,
    *,
    kind: str = "llama",
    chat: bool = True,
    quantise: bool = False,
    leave_out: str = "",
    splitter: str = "smollm",
    **numbers: int,
) -> tuple[Any, Any]:
    """Write a tiny model as GGUF, and return the model and the tokenizer it was made of.

    ``numbers`` are further entries, ``eot_token_id=5`` or ``split_count=3``; ``leave_out`` is the
    tensors whose name holds it.
    """
    from gguf import GGMLQuantizationType, GGUFWriter, quants

    model, tokenizer = tiny_model("llama", chat=chat)
    words = vocabulary(tokenizer, model.get_input_embeddings().weight.shape[0])
    writer = GGUFWriter(path, kind)
    add_numbers(writer, model.config)
    _add_vocabulary(writer, words._replace(splitter=splitter))
    for name, value in numbers.items():
        split = name.startswith("split")
        writer.add_uint32(name.replace("_", ".") if split else f"tokenizer.ggml.{name}", value)
    for name, tensor in tensors(model, architecture(model.config)):
        if leave_out and leave_out in name:
            continue
        values = np.ascontiguousarray(tensor.numpy(), dtype=np.float32)
        if quantise and values.ndim == 2 and values.shape[1] % 32 == 0:  # whole blocks
            q8 = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quants.quantize(values, q8), raw_dtype=q8)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model, tokenizer
