"""Running a model over batches: the arguments of a forward pass, without the output head."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from prosopon.data import Batch
from prosopon.errors import StatisticsError
from prosopon.models import Site

if TYPE_CHECKING:
    from torch import Tensor, nn


def trunk(model: nn.Module) -> nn.Module:
    """Return the part of a causal LM below its head (the model itself where there is none)."""
    base = getattr(model, "base_model", model)
    return base if isinstance(base, torch.nn.Module) else model


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


def by_row(site: Site, value: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a site's input or output as ``[rows, length, channels]``.

    Args:
        site: The site, for messages.
        value: What it reads or writes; some modules (OPT's) flatten rows and tokens.
        shape: (rows, length) of the batch.

    Raises:
        StatisticsError: Its tokens cannot be told apart.
    """
    rows, length = shape
    if value.ndim == 3 and value.shape[:2] == (rows, length):
        return value
    if value.ndim == 2 and len(value) == rows * length:
        return value.reshape(rows, length, -1)
    raise StatisticsError(
        f"site {site.name!r} reads a tensor of shape {tuple(value.shape)} in a batch of "
        f"{rows} x {length} tokens, so its tokens cannot be told apart; leave it out with --ignore"
    )
