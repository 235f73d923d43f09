"""Linear layers quantised by bitsandbytes or torchao: recognised, and read as ordinary numbers.

Such weights are never written. A mask is worn on them by correcting what the layer computes
(:mod:`prosopon.runtime.correction`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

if TYPE_CHECKING:
    from torch import Tensor

PACKAGES = ("bitsandbytes", "torchao")
"""The packages whose weights can be read."""


def is_quantised(module: torch.nn.Module) -> bool:
    """Tell whether a module is a linear layer whose weight one of the packages quantised."""
    kind = type(module._parameters.get("weight"))
    return isinstance(module, torch.nn.Linear) and kind.__module__.partition(".")[0] in PACKAGES


def dequantised(module: torch.nn.Module) -> Tensor:
    """Return the numbers that a quantised layer multiplies by: a copy, [out, in].

    In the dtype that the package gives; that of int8 weights of bitsandbytes is float32.
    """
    weight = cast(Any, module._parameters["weight"])
    if type(weight).__module__.startswith("torchao"):
        return cast("Tensor", weight.dequantize().detach())
    from bitsandbytes import functional

    if (packed := getattr(weight, "quant_state", None)) is not None:
        return cast("Tensor", functional.dequantize_4bit(weight.data, packed))
    # The first forward pass moves the scales from the weight to the layer.
    state = cast(Any, module).state
    scales = state.SCB if state.SCB is not None else weight.SCB
    return cast("Tensor", functional.int8_vectorwise_dequant(weight.data, scales))
