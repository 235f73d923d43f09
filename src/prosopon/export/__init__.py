"""Export: a persona as files that other software loads without this package.

- ``export``: the one entry point; stages a folder, writes it and its card, puts it in its place.
- ``base``: what a format is, and the registry of formats.
- ``checkpoint``, ``structured``, ``shira``, ``lora``, ``gguf``, ``gguf_lora``: one file a format.
- ``surgery``: which channels and heads are dead, and cutting them out.
- ``cover``: a mask of few rows and columns as a product of that rank, exactly.
- ``lowrank``, ``fidelity``: the approximation of a mask by a low rank, and what it costs.
- ``gguf_tensors``, ``gguf_vocabulary``: names and layouts of llama.cpp.
- ``folders``: whole-or-nothing folders.
"""

from prosopon.export import checkpoint, gguf, gguf_lora, lora, shira, structured
from prosopon.export.base import FORMATS, Format, FormatOptions
from prosopon.export.export import export_persona

__all__ = [
    "FORMATS",
    "Format",
    "FormatOptions",
    "checkpoint",
    "export_persona",
    "gguf",
    "gguf_lora",
    "lora",
    "shira",
    "structured",
]
