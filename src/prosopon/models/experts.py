"""Fused experts: all experts of a layer in one 3-D parameter, seen as one matrix after the other.

transformers keeps the experts of a mixture (Mixtral, Qwen-MoE, DeepSeek, OLMoE, GPT-OSS, ...) in
tensors [experts, out, in], or [experts, in, out], and multiplies them all at once. Here every
expert's matrix is a module whose weight is a view into such a tensor: writing to the view writes
the model. What one expert reads and writes can be seen only where experts run one by one:
:func:`apart` lets them, through the registry of experts implementations of transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from prosopon.models.expert_linear import ExpertLinear

IMPLEMENTATION = "prosopon"
"""The name in the registry of transformers of experts that run one by one."""

_STACK = "_prosopon_experts"  # where a module of fused experts keeps what is made for it here
_SAYS = ("config", "num_experts", "has_gate", "has_bias", "is_transposed")


class _Stack:
    """The matrices of one module of fused experts, and who wants them to run one by one."""

    def __init__(self, experts: Any) -> None:
        from prosopon.models.expert_linear import ExpertLinear

        self.matrices = {
            name: [ExpertLinear(experts, name, number) for number in range(experts.num_experts)]
            for name in _projections(experts)
        }
        self.users, self.config = 0, experts.config


def is_fused(module: torch.nn.Module) -> bool:
    """Tell whether a module holds fused experts in the way of transformers' registry."""
    if not hasattr(type(module), "_apply_gate") or not all(hasattr(module, a) for a in _SAYS):
        return False
    wide = {name for name, p in module._parameters.items() if p is not None and p.ndim == 3}
    return wide == set(_projections(module)) and not getattr(module, "_is_expert_parallel", False)


def expert_matrices(experts: torch.nn.Module) -> dict[str, list[ExpertLinear]]:
    """Return the matrices of all experts by the parameter's name; always the same objects."""
    return _stack(experts).matrices


@contextmanager
def apart(modules: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Let the experts that these modules belong to run one by one; other modules are passed over.

    It computes what the eager implementation of transformers does. Blocks may overlap in any way.
    """
    from prosopon.models.expert_linear import ExpertLinear

    views = [module for module in modules if isinstance(module, ExpertLinear)]
    owners: list[Any] = list({id(view.experts): view.experts for view in views}.values())
    if owners:
        from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

        ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, _run_apart)
    for experts in owners:
        stack = _stack(experts)
        stack.users += 1
        if stack.users == 1:
            stack.config = experts.config
            experts.config = SimpleNamespace(_experts_implementation=IMPLEMENTATION)
    try:
        yield
    finally:
        for experts in owners:
            stack = _stack(experts)
            stack.users -= 1
            if not stack.users:
                experts.config = stack.config


def _projections(experts: Any) -> tuple[str, str]:
    return "gate_up_proj" if experts.has_gate else "up_proj", "down_proj"


def _stack(experts: torch.nn.Module) -> _Stack:
    if _STACK not in vars(experts):
        vars(experts)[_STACK] = _Stack(experts)
    return cast(_Stack, vars(experts)[_STACK])


def _run_apart(
    experts: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor
) -> Tensor:
    """Run the experts of a layer one after the other, each with the tokens routed to it.

    Args:
        experts: The module.
        hidden_states: [tokens, hidden].
        top_k_index: The experts of every token, int64 [tokens, k].
        top_k_weights: Their weights, [tokens, k].
    """
    up, down = _stack(experts).matrices.values()
    output = torch.zeros_like(hidden_states)
    for first, last in zip(up, down, strict=True):
        tokens, places = (top_k_index == first.expert).nonzero(as_tuple=True)
        if not len(tokens):
            continue
        first.routed = last.routed = tokens, len(hidden_states)
        values = first(hidden_states[tokens])
        values = experts._apply_gate(values) if experts.has_gate else experts.act_fn(values)
        values = last(values)
        if getattr(experts, "has_post_expert_norm", False):
            values = experts.post_expert_norm(values)
        values = values * top_k_weights[tokens, places, None]
        output.index_add_(0, tokens, values.to(output.dtype))
    return output
