"""The tensors and numbers of a GGUF file, as llama.cpp wants them. No file is touched here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from prosopon.errors import ExportError

if TYPE_CHECKING:
    from torch import Tensor


class Architecture(NamedTuple):
    """A family's name in llama.cpp, and whether query and key heads are turned to its order."""

    name: str
    turned: bool


ARCHITECTURES = {
    "llama": Architecture("llama", True),
    "mistral": Architecture("llama", True),
    "qwen2": Architecture("qwen2", False),
}
"""Supported ``model_type`` values."""

_NUMBERS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "head_count": "num_attention_heads",
    "head_count_kv": "num_key_value_heads",
    "layer_norm_rms_eps": "rms_norm_eps",
    "vocab_size": "vocab_size",
}
"""What the format calls a number, and what the configuration does."""

_ACTIVATION = "silu"  # built into these architectures


def architecture(config: Any) -> Architecture:
    """Return how llama.cpp takes a model; one that the file cannot express is refused."""
    kind = config.model_type
    if kind not in ARCHITECTURES:
        raise ExportError(
            f"format 'gguf': {kind} is not supported; supported are "
            f"{', '.join(ARCHITECTURES)}. Choose --format checkpoint and convert that with "
            "llama.cpp's own script"
        )
    if config.hidden_act != _ACTIVATION:
        raise _unsaid(kind, f"hidden_act is {config.hidden_act!r}, not {_ACTIVATION!r}")
    window = getattr(config, "sliding_window", None)
    if window is not None and window < config.max_position_embeddings:
        raise _unsaid(kind, f"it attends to a sliding window of {window} tokens")
    scaling = _rope(config).get("rope_type", "default")
    if scaling not in ("default", "linear", "llama3"):
        raise _unsaid(kind, f"its positions are scaled by {scaling!r}")
    return ARCHITECTURES[kind]


def _unsaid(kind: str, reason: str) -> ExportError:
    return ExportError(
        f"format 'gguf': this {kind} model cannot be expressed: {reason}; choose --format "
        "checkpoint and convert that with llama.cpp's own script"
    )


def _rope(config: Any) -> dict[str, Any]:
    return dict(getattr(config, "rope_parameters", None) or {})


def head_size(config: Any) -> int:
    """Return the channels of an attention head."""
    whole = config.hidden_size // config.num_attention_heads
    return int(getattr(config, "head_dim", None) or whole)


def add_numbers(writer: Any, config: Any) -> None:
    """Write what the configuration says into a ``GGUFWriter``."""
    rope, size = _rope(config), head_size(config)
    for kind, name in _NUMBERS.items():
        getattr(writer, f"add_{kind}")(getattr(config, name))
    for kind in ("key_length", "value_length", "rope_dimension_count"):
        getattr(writer, f"add_{kind}")(size)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    if rope.get("rope_type") == "linear":
        from gguf import RopeScalingType

        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))


def tensors(model: Any, kind: Architecture) -> Iterator[tuple[str, Tensor]]:
    """Yield (GGUF name, tensor) of every parameter, as views of the live model where possible.

    Matrices stay in their dtype, vectors become float32, as llama.cpp keeps them.
    """
    if _rope(model.config).get("rope_type") == "llama3":
        yield "rope_freqs.weight", rope_factors(model)
    # A tied head comes once, as the embedding.
    named = ((name, parameter.detach()) for name, parameter in model.named_parameters())
    for name, tensor in translated(named, model.config, kind):
        yield name, tensor if tensor.ndim > 1 else tensor.float()


def translated(
    named: Iterable[tuple[str, Tensor]], config: Any, kind: Architecture
) -> Iterator[tuple[str, Tensor]]:
    """Yield llama.cpp's name of each parameter, and the tensor with its rows in llama.cpp's order.

    Args:
        named: The model's names, which end with ``.weight`` or ``.bias``, and tensors whose rows
            are the parameter's: itself, or a LoRA's B.
        config: The model's configuration.
        kind: Its architecture.

    Raises:
        ExportError: The format has no name for one.
    """
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    number = next(arch for arch in MODEL_ARCH if MODEL_ARCH_NAMES[arch] == kind.name)
    names = get_tensor_name_map(number, config.num_hidden_layers)
    for name, tensor in named:
        there = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if there is None:
            raise _unsaid(config.model_type, f"parameter {name!r} has no name in the format")
        heads = _heads_of(name, config) if kind.turned else None
        yield there, interleave(tensor, heads) if heads else tensor


def _heads_of(name: str, config: Any) -> int | None:
    """Return the number of heads of a query or key projection, None of anything else."""
    if ".q_proj." in name:
        return int(config.num_attention_heads)
    return int(config.num_key_value_heads) if ".k_proj." in name else None


def interleave(tensor: Tensor, heads: int) -> Tensor:
    """Put the rows of every head into llama.cpp's order.

    Hugging Face rotates row i of a head's first half with row i of its second half, llama.cpp's
    ``llama`` rotates neighbours: row i of the first half goes to 2 i, of the second to 2 i + 1.
    The tensor is a weight or a LoRA's B, [heads * size, any], or a bias [heads * size].
    """
    half = tensor.shape[0] // heads // 2
    parts = tensor.reshape(heads, 2, half, *tensor.shape[1:])
    return parts.transpose(1, 2).reshape(tensor.shape)


def rope_factors(model: Any) -> Tensor:
    """Return what llama.cpp divides each of a model's frequencies by, float32 [head size / 2]."""
    config, size = model.config, head_size(model.config)
    steps = torch.arange(0, size, 2, dtype=torch.float64) / size
    plain = float(_rope(config)["rope_theta"]) ** -steps
    scaled: Tensor = model.base_model.rotary_emb.inv_freq.double().cpu()
    return (plain / scaled).float()
