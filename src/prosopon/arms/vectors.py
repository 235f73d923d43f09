"""Steering vectors: mean differences of a layer's output, and adding them while it runs.

Contrastive activation addition (Rimsky et al. 2024, arXiv 2312.06681), with the mean over all
tokens of the answers instead of the letter of a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from prosopon.data import Batch, Encoded, length_buckets
from prosopon.errors import ModelError
from prosopon.layerwise import decoder_stack
from prosopon.lm.forward import inputs, trunk

if TYPE_CHECKING:
    from torch import Tensor, nn


class Mean(NamedTuple):
    """A sum over tokens and how many there are; two halves add up to the whole.

    Attributes:
        total: float64 ``[hidden]``.
        tokens: Tokens.
    """

    total: Tensor
    tokens: int

    @property
    def value(self) -> Tensor:
        """The mean, float64 ``[hidden]``."""
        return self.total / self.tokens


def decoder_layers(model: nn.Module) -> list[nn.Module]:
    """Return a causal LM's decoder layers, in order.

    Raises:
        ModelError: It has not exactly one stack of layers.
    """
    return list(decoder_stack(trunk(model))[1])


def layer_means(
    model: nn.Module,
    layers: Sequence[int],
    texts: Sequence[Encoded],
    *,
    max_tokens: int = 2048,
) -> dict[int, Mean]:
    """Return the mean output of some decoder layers over the texts' answer tokens.

    Args:
        model: A causal LM.
        layers: Which layers, the first is 0.
        texts: Encoded texts.
        max_tokens: Most tokens, padding included, in one forward pass.

    Raises:
        ModelError: A layer's output is not ``[rows, tokens, hidden]``.
    """
    stack = decoder_layers(model)
    means: dict[int, Mean] = {}
    body = trunk(model)
    for batch in length_buckets(texts, max_tokens=max_tokens):
        with torch.no_grad(), ExitStack() as hooks:
            for number in layers:
                hooks.enter_context(_hook(stack[number], _adder(means, number, batch)))
            body(**inputs(body, batch))
    return means


@contextmanager
def steered(layer: nn.Module, vector: Tensor, multiplier: float) -> Iterator[None]:
    """Add a multiple of a vector to a layer's output, at every token, inside a with block.

    Args:
        layer: A decoder layer.
        vector: ``[hidden]``.
        multiplier: How much of it.
    """
    amount = multiplier * vector

    def add(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        hidden = _hidden(output)
        moved = hidden + amount.to(hidden.device, hidden.dtype)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    with _hook(layer, add):
        yield


def difference(ours: Mapping[int, Mean], theirs: Mapping[int, Mean]) -> dict[int, Tensor]:
    """Return the target's mean less the opposite's, of every layer, float32 ``[hidden]``."""
    return {layer: (mean.value - theirs[layer].value).float() for layer, mean in ours.items()}


@contextmanager
def _hook(layer: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _adder(means: dict[int, Mean], number: int, batch: Batch) -> Callable[..., None]:
    def add(_module: nn.Module, _inputs: Any, output: Any) -> None:
        hidden = _hidden(output)
        if hidden.shape[:2] != batch.response.shape:
            raise ModelError(
                f"decoder layer {number} gives a tensor of shape {tuple(hidden.shape)} for "
                f"{tuple(batch.response.shape)} tokens, so it cannot be steered"
            )
        counted = hidden[batch.response.to(hidden.device)].double().sum(0).cpu()
        before = means.get(number, Mean(torch.zeros_like(counted), 0))
        tokens = before.tokens + int(batch.response.sum())
        means[number] = Mean(before.total + counted, tokens)

    return add


def _hidden(output: Any) -> Tensor:
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden
