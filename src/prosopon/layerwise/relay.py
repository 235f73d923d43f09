"""Running one decoder layer at a time inside the model's own forward pass.

The model prepares what its layers are called with: masks (sliding or full, padding), rotary
embeddings, positions. Instead of repeating that for every family, its forward runs as it is,
with all layers but one handing their input on unread; that one gets the hidden states it would
have got. Whether this is what the model does is checked, not assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from prosopon.errors import StatisticsError

if TYPE_CHECKING:
    from torch import Tensor, nn

_Act = Callable[[int, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class _Misfit(Exception):
    """Why a model does not fit."""


class Relay:
    """Runs a model's layers one at a time.

    Args:
        body: The model without its head; everything outside the layers has its weights.
        layers: Its decoder layers, in order; only the one that runs needs weights.
    """

    def __init__(self, body: nn.Module, layers: Sequence[nn.Module]) -> None:
        self.body, self.layers = body, list(layers)
        self._more: int | None = 0  # so many things come behind the hidden states; None: no tuple

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Find out, on the arguments of one small batch, whether the model can be run so.

        The first layer must have its weights. Two passes are made, in which the layers hand on
        different numbers, and in the second one nothing but hidden states: what the layers are
        called with besides must not change. If it does, a StatisticsError says why.
        """
        try:
            first = self._record(arguments, all_of_it=True)
            second = self._record(arguments, all_of_it=False)
            for number, (one, other) in enumerate(zip(first, second, strict=True)):
                if not _equal(one, other):
                    raise _Misfit(f"what layer {number} is called with depends on earlier layers")
        except _Misfit as reason:
            raise StatisticsError(
                f"{type(self.body).__name__} cannot be collected layer by layer: {reason}; "
                "collect from the whole model"
            ) from None

    def step(self, arguments: Mapping[str, Any], number: int, hidden: Tensor | None) -> Tensor:
        """Run layer ``number`` on hidden states and return its output.

        Args:
            arguments: Keyword arguments of the model's forward for the batch.
            number: The layer; the number of layers means what comes before and after them.
            hidden: Its input ``[rows, length, size]``; None takes what the model gives, which
                is right for layer 0 only.

        Returns:
            The layer's output, ``[rows, length, size]``; ``hidden`` itself behind the last.
        """
        results: list[Tensor] = []

        def act(
            index: int, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            state, rest = _split(args, kwargs)
            if index == number:
                state = state if hidden is None else hidden.to(state.device)
                returned = forward(state, *rest[0], **rest[1])
                state = returned[0] if isinstance(returned, tuple) else returned
                results.append(state)
            elif number == len(self.layers) and index == number - 1 and hidden is not None:
                state = hidden.to(state.device)
                results.append(state)
            return self._result(state)

        with torch.no_grad(), _replace_forward(self.layers, act):
            self.body(**arguments)
        return results[0]

    def _result(self, hidden: Tensor) -> Any:
        return hidden if self._more is None else (hidden, *[None] * self._more)

    def _record(self, arguments: Mapping[str, Any], *, all_of_it: bool) -> list[Any]:
        """Run layer 0, hand its output on or another one, and return what each is called with."""
        calls: list[Any] = []
        handed: list[Tensor] = []

        def act(
            index: int, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            if index != len(calls):
                raise _Misfit(f"layer {index} runs as number {len(calls)}")
            state, rest = _split(args, kwargs)
            if handed and state is not handed[-1]:
                raise _Misfit(f"layer {index} does not read just what layer {index - 1} returned")
            _check_plain(index, rest)
            calls.append(rest)
            returned = forward(*args, **kwargs) if index == 0 else self._result(state)
            hidden = self._learn(returned) if index == 0 else state
            handed.append(hidden if all_of_it else 2 * hidden + 1)
            return returned if all_of_it else self._result(handed[-1])

        with torch.no_grad(), _replace_forward(self.layers, act):
            self.body(**arguments)
        if len(calls) != len(self.layers):
            raise _Misfit(f"{len(calls)} of its {len(self.layers)} layers run")
        return calls

    def _learn(self, returned: Any) -> Tensor:
        """Note in what form a layer returns its hidden states, and return them."""
        first = returned[0] if isinstance(returned, tuple) and returned else returned
        if not isinstance(first, torch.Tensor):
            raise _Misfit(f"layer 0 returns a {type(returned).__name__}")
        self._more = len(returned) - 1 if isinstance(returned, tuple) else None
        return first


@contextmanager
def _replace_forward(layers: Sequence[nn.Module], act: _Act) -> Iterator[None]:
    """Let ``act`` stand in for the forward of every layer; the modules stay where they are."""
    before = [vars(layer).get("forward") for layer in layers]
    try:
        for index, layer in enumerate(layers):
            forward = layer.forward

            def stand_in(
                *args: Any, _index: int = index, _forward: Any = forward, **kwargs: Any
            ) -> Any:
                return act(_index, _forward, args, kwargs)

            layer.forward = stand_in
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            if own is None:
                vars(layer).pop("forward", None)
            else:
                layer.forward = own


def _split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Any]:
    """Return the hidden states a layer is called with, and the other arguments."""
    if args and isinstance(args[0], torch.Tensor):
        return args[0], (args[1:], kwargs)
    states = kwargs.get("hidden_states")
    if not isinstance(states, torch.Tensor):
        raise _Misfit("its layers are called without hidden states")
    return states, (args, {name: value for name, value in kwargs.items() if value is not states})


def _check_plain(index: int, value: Any) -> None:
    """Refuse arguments through which layers could speak to each other, such as a cache."""
    if isinstance(value, (tuple, list)):
        parts: Any = value
    elif isinstance(value, dict):
        parts = value.values()
    elif value is None or isinstance(value, (torch.Tensor, bool, int, float, str, torch.dtype)):
        return
    else:
        raise _Misfit(f"layer {index} is called with a {type(value).__name__}")
    for part in parts:
        _check_plain(index, part)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return bool(one == other)
