"""Running a model over batches: the arguments of a forward pass, without the output head."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from prosopon.data import Batch


def trunk(model: nn.Module) -> nn.Module:
    """Return the part of a causal LM below its head (the model itself where there is none)."""
    base = getattr(model, "base_model", model)
    return base if isinstance(base, nn.Module) else model


def inputs(module: nn.Module, batch: Batch) -> dict[str, Any]:
    """Return the keyword arguments for one forward pass of ``module`` over ``batch``.

    Positions are passed where the model takes them, so that left padding does not shift them.
    """
    device = next(module.parameters()).device
    accepted = inspect.signature(module.forward).parameters
    arguments: dict[str, Any] = {
        "input_ids": batch.input_ids.to(device),
        "attention_mask": batch.attention_mask.to(device),
    }
    if "position_ids" in accepted:
        arguments["position_ids"] = batch.position_ids.to(device)
    if "use_cache" in accepted:
        arguments["use_cache"] = False
    return arguments
