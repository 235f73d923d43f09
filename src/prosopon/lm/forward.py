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


CACHE_NAMES = ("cache", "past_key_values")
"""What a model calls its keys and values: transformers from 5.24 on, and before."""


def cache_name(module: nn.Module) -> str | None:
    """Return the keyword under which a module takes keys and values; None where it keeps none.

    A model of recurrent states alone keeps none, whatever it calls them.
    """
    from transformers.cache_utils import DynamicCache

    accepted = inspect.signature(module.forward).parameters
    name = next((name for name in CACHE_NAMES if name in accepted), None)
    if name is not None and _holds_keys(DynamicCache(config=getattr(module, "config", None))):
        return name
    return None


def past_of(output: Any) -> dict[str, Any]:
    """Return a pass's keys and values as the next pass takes them: by name; empty for none."""
    for name in CACHE_NAMES:
        cache = getattr(output, name, None)
        if cache is not None and _holds_keys(cache):
            return {name: cache}
    return {}


def _holds_keys(cache: Any) -> bool:
    """Tell whether a cache says how many tokens it holds, which recurrent states cannot."""
    try:
        cache.get_seq_length()
    except ValueError:
        return False
    return True


def by_row(site: Site, value: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a site's input or output as ``[rows, length, channels]``.

    An expert has the rows whose tokens came to it, as long as the most of them, with zeros.

    Args:
        site: The site; a fused expert is in the call whose input or output this is.
        value: What it reads or writes; some modules (OPT's) flatten rows and tokens.
        shape: (rows, length) of the batch.

    Raises:
        StatisticsError: Its tokens cannot be told apart.
    """
    rows, length = shape
    routed = getattr(site.module, "routed", None)
    if routed is not None and routed[1] == rows * length:
        return _pack(value, routed[0] // length)[0]
    if value.ndim == 3 and value.shape[:2] == (rows, length):
        return value
    if value.ndim == 2 and len(value) == rows * length:
        return value.reshape(rows, length, -1)
    raise StatisticsError(
        f"site {site.name!r} reads a tensor of shape {tuple(value.shape)} in a batch of "
        f"{rows} x {length} tokens, so its tokens cannot be told apart; leave it out with --ignore"
    )


def in_scope(site: Site, value: Tensor, scope: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a site reads of a batch by row, and which of it is in scope.

    Args:
        site: As for :func:`by_row`.
        value: As for :func:`by_row`.
        scope: The tokens in scope, bool ``[rows, length]``, at least one in every row.

    Returns:
        Values and a mask, ``[rows, length, channels]`` and bool ``[rows, length]``, at least one
        in every row. Of an expert only the tokens in scope that came to it, and the rows that
        have some, maybe none.
    """
    routed = getattr(site.module, "routed", None)
    if routed is None or routed[1] != scope.numel():
        return by_row(site, value, scope.shape), scope
    tokens = routed[0]
    chosen = scope.flatten()[tokens]
    return _pack(value[chosen], tokens[chosen] // scope.shape[1])


def _pack(values: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Lay tokens [n, channels] of ascending rows [n] side by side, and say where tokens lie."""
    counts = torch.unique_consecutive(rows, return_counts=True)[1]
    if not len(counts):
        return values.unsqueeze(1), values.new_zeros((0, 1), dtype=torch.bool)
    packed = torch.nn.utils.rnn.pad_sequence(
        list(torch.split(values, counts.tolist())), batch_first=True
    )
    places = torch.arange(packed.shape[1], device=values.device)
    return packed, places < counts.unsqueeze(1)
