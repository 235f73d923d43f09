"""``gguf``: one file with the mask written in, for llama.cpp and what is built on it.

Written with the ``gguf`` package, tensor by tensor, so that no second copy of the model is in
memory. Weights keep their dtype; nothing is quantised (llama.cpp's own tool does that).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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

_DTYPES = {
    "float32": ("F32", 4, "ALL_F32"),
    "float16": ("F16", 2, "MOSTLY_F16"),
    "bfloat16": ("BF16", 2, "MOSTLY_BF16"),
}
"""The format's name of a dtype, the bytes of a value, and what the file is called as a whole."""


def write_gguf(job: Job, folder: Path) -> dict[str, Any]:
    """Write ``model.gguf``; refuses what cannot be expressed of model, dtype and tokenizer."""
    name = f"{portable_name(job.base_model)} as {job.subnetwork.config.persona}"
    with job.wearer.persona(job.persona):
        return write_model(folder / FILE, job.model, job.tokenizer, name)


def write_model(path: Path, model: Any, tokenizer: Any, name: str) -> dict[str, Any]:
    """Write a model as it is, and its tokenizer, into one file; return what there is to report.

    Raises:
        ExportError: The file cannot hold this model, dtype or tokenizer.
    """
    from gguf import GGUFWriter, LlamaFileType

    kind = architecture(model.config)
    if tokenizer is None:
        raise ExportError("format 'gguf' needs the model's tokenizer")
    words = vocabulary(tokenizer, model.get_input_embeddings().weight.shape[0])
    writer = GGUFWriter(path, kind.name)
    try:
        writer.add_name(name)
        writer.add_file_type(
            int(LlamaFileType[_DTYPES.get(_name(model.dtype), _DTYPES["float32"])[2]])
        )
        add_numbers(writer, model.config)
        _add_vocabulary(writer, words)
        count = write_tensors(writer, lambda: tensors(model, kind))
    finally:
        writer.close()
    return {
        "file": path.name,
        "architecture": kind.name,
        "tensors": count,
        "splitter": words.splitter,
    }


def write_tensors(writer: Any, named: Callable[[], Iterable[tuple[str, Tensor]]]) -> int:
    """Announce all tensors, then write one after the other; return how many.

    Args:
        writer: A ``GGUFWriter`` whose keys are all set.
        named: Makes the names and tensors afresh.

    Raises:
        ExportError: A dtype that the format does not have.
    """
    from gguf import GGMLQuantizationType

    count = 0
    for name, tensor in named():
        count += 1
        if (dtype_name := _name(tensor.dtype)) not in _DTYPES:
            raise ExportError(
                f"format 'gguf': weights in {dtype_name} cannot be stored; load the model with "
                "--dtype float32, float16 or bfloat16"
            )
        dtype, size, _ = _DTYPES[dtype_name]
        writer.add_tensor_info(
            name, list(tensor.shape), np.dtype(np.float32), tensor.numel() * size,
            raw_dtype=GGMLQuantizationType[dtype],
        )  # fmt: skip
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, tensor in named():
        writer.write_tensor_data(_bytes(tensor))
    return count


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _bytes(tensor: Tensor) -> Any:
    """Return a tensor's values as numpy, bfloat16 as its raw 16 bits."""
    flat = tensor.contiguous().cpu()
    return (flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat).numpy()


def _add_vocabulary(writer: Any, words: Vocabulary) -> None:
    """Write the tokenizer."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words.splitter)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    writer.add_token_merges(words.merges)
    for name, index in words.special.items():
        getattr(writer, f"add_{name}_token_id")(index)
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
