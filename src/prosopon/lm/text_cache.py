"""General text that a large model on a CPU wrote once, kept on disk for the next run.

Writing it takes a minute or more, and every mask of a model needs the same texts. They lie in
the cache folder under a hash of all that decides them, every weight included. On a GPU writing
is faster than the hash, and small models write in seconds, so neither keeps any.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from prosopon.data import Encoded
from prosopon.files import cache_folder, write_text

FEWEST = 2**25
"""Weights from which on texts are kept."""
LAYOUT = 1
"""Changes whenever texts of earlier code must not be used again."""


def text_file(model: Any, tokenizer: Any, request: Mapping[str, Any]) -> Path | None:
    """Return the file of a model's general texts; None where they are not worth keeping.

    Args:
        model: A causal LM.
        tokenizer: Its tokenizer.
        request: What else decides the texts, JSON values.
    """
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or sum(t.numel() for t in tensors.values()) < FEWEST:
        return None
    if not all(map(_is_plain, tensors.values())) or _is_altered(model):
        return None
    config = {k: v for k, v in model.config.to_dict().items() if k != "_name_or_path"}
    settings = {
        "layout": LAYOUT, "request": dict(request), "model": config,
        "generation": model.generation_config.to_dict(), "words": backend.to_str(),
        "template": getattr(tokenizer, "chat_template", None),
        "versions": [version("torch"), version("transformers")],
        # What rounds otherwise draws otherwise.
        "attention": getattr(model.config, "_attn_implementation", None),
        "machine": [torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()],
    }  # fmt: skip
    whole = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        whole.update(tensor.view(-1).view(torch.uint8).numpy())
    return cache_folder() / "general" / f"{whole.hexdigest()}.json"


def _is_plain(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor's bytes are all that it is, and lie in main memory."""
    return type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.device.type == "cpu"


def _is_altered(model: Any) -> bool:
    """Tell whether hooks or adapters may make the model say what its weights alone would not."""
    return hasattr(model, "peft_config") or any(
        module._forward_hooks or module._forward_pre_hooks for module in model.modules()
    )


def read_texts(file: Path) -> list[Encoded] | None:
    """Return the texts of a file; None where there are none, or they are damaged."""
    try:
        rows = json.loads(file.read_text("utf-8"))["texts"]
        return [_encoded(ids, int(start)) for ids, start in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_texts(file: Path, texts: Sequence[Encoded]) -> None:
    """Keep texts of which all counts from some token on; a full disk or a locked folder keeps none.

    A cache that cannot be written costs time and nothing else.
    """
    rows = [[text.input_ids, text.scope.index(True)] for text in texts]
    try:
        write_text(file, json.dumps({"texts": rows}))
    except OSError:
        return


def _encoded(ids: list[int], start: int) -> Encoded:
    counts = [False] * start + [True] * (len(ids) - start)
    return Encoded([int(token) for token in ids], counts, counts)
