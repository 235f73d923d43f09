"""``gguf``: one file with the mask written in, for llama.cpp and what is built on it.

Written with the ``gguf`` package, tensor by tensor, so that no second copy of the model is in
memory. Weights keep their dtype; nothing is quantised (llama.cpp's own tool does that).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from prosopon.errors import ExportError
from prosopon.export.base import FORMATS, Format, Job
from prosopon.export.gguf_tensors import add_numbers, architecture, tensors
from prosopon.export.gguf_vocabulary import Vocabulary, vocabulary
from prosopon.subnetwork import portable_name

if TYPE_CHECKING:
    from torch import Tensor

FILE = "model.gguf"
"""The file in the exported folder."""

_SPECIAL = {
    "bos": "add_bos_token_id",
    "eos": "add_eos_token_id",
    "unk": "add_unk_token_id",
    "pad": "add_pad_token_id",
}


def write_gguf(job: Job, folder: Path) -> dict[str, Any]:
    """Write ``model.gguf``.

    Raises:
        ExportError: The architecture, the dtype or the tokenizer cannot be expressed.
    """
    from gguf import GGUFWriter

    model = job.model
    kind = architecture(model.config)
    if job.tokenizer is None:
        raise ExportError("format 'gguf' needs the model's tokenizer")
    words = vocabulary(job.tokenizer, model.get_input_embeddings().weight.shape[0])
    writer = GGUFWriter(folder / FILE, kind.name)
    try:
        writer.add_name(f"{portable_name(job.base_model)} as {job.subnetwork.config.persona}")
        writer.add_file_type(_file_type(model.dtype))
        add_numbers(writer, model.config)
        _add_vocabulary(writer, words)
        with job.wearer.persona(job.persona):
            count = _write_tensors(writer, model, kind)
    finally:
        writer.close()
    return {"file": FILE, "architecture": kind.name, "tensors": count, "splitter": words.splitter}


def _write_tensors(writer: Any, model: Any, kind: Any) -> int:
    """Announce all tensors, then write one after the other."""
    count = 0
    for name, tensor in tensors(model, kind):
        dtype, size = _stored(tensor.dtype)
        writer.add_tensor_info(
            name, list(tensor.shape), np.dtype(np.float32), tensor.numel() * size, raw_dtype=dtype
        )
        count += 1
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, tensor in tensors(model, kind):
        writer.write_tensor_data(_bytes(tensor))
    return count


def _stored(dtype: torch.dtype) -> tuple[Any, int]:
    """Return the format's number of a dtype and the bytes of a value.

    Raises:
        ExportError: The format has no such dtype.
    """
    from gguf import GGMLQuantizationType as Kind

    kinds = {
        torch.float32: (Kind.F32, 4),
        torch.float16: (Kind.F16, 2),
        torch.bfloat16: (Kind.BF16, 2),
    }
    if dtype not in kinds:
        raise ExportError(
            f"format 'gguf': weights in {str(dtype).removeprefix('torch.')} cannot be stored; "
            "load the model with --dtype float32, float16 or bfloat16"
        )
    return kinds[dtype]


def _file_type(dtype: torch.dtype) -> int:
    """Return what the file says of its matrices as a whole."""
    from gguf import LlamaFileType

    names = {torch.float16: "MOSTLY_F16", torch.bfloat16: "MOSTLY_BF16"}
    return int(LlamaFileType[names.get(dtype, "ALL_F32")])


def _bytes(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor's values as numpy, bfloat16 as its raw 16 bits."""
    flat = tensor.contiguous().cpu()
    array: np.ndarray[Any, Any] = (
        flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat
    ).numpy()
    return array


def _add_vocabulary(writer: Any, words: Vocabulary) -> None:
    """Write the tokenizer."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words.splitter)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    writer.add_token_merges(words.merges)
    for name, index in words.special.items():
        getattr(writer, _SPECIAL[name])(index)
    writer.add_add_bos_token(words.adds_bos)
    if words.template is not None:
        writer.add_chat_template(words.template)


FORMATS.add(
    "gguf",
    Format(
        "gguf",
        "one GGUF file of the masked model, for llama.cpp",
        "# llama-cli -m {folder}/model.gguf\n"
        "from transformers import AutoModelForCausalLM\n\n"
        'model = AutoModelForCausalLM.from_pretrained("{folder}", gguf_file="model.gguf")',
        write_gguf,
        packages=("gguf",),
    ),
)
