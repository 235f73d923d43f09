"""A copy of a model whose fused experts are plain matrices, run token by token: the oracle."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from prosopon.models import Site, find_sites


class SlowExperts(nn.Module):
    """The experts of one layer, two nn.Linear each."""

    def __init__(self, experts: Any) -> None:
        super().__init__()
        self.gate, self.place = experts._apply_gate, -1  # the token that is at work
        self.up, self.down = (_linears(experts, name) for name in ("gate_up_proj", "down_proj"))

    def forward(self, hidden: Any, chosen: Any, weights: Any) -> Any:
        rows = []
        for self.place, token in enumerate(hidden):
            numbers, shares = chosen[self.place].tolist(), weights[self.place]
            parts = [self.down[e](self.gate(self.up[e](token))) for e in numbers]
            rows.append(sum(part * share for part, share in zip(parts, shares, strict=True)))
        return torch.stack(rows)


def _linears(experts: Any, name: str) -> nn.ModuleList:
    result = nn.ModuleList()
    for number, stored in enumerate(getattr(experts, name).detach()):
        weight = stored.T if experts.is_transposed else stored
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=experts.has_bias)
        linear.weight = nn.Parameter(weight.clone())
        if experts.has_bias:
            linear.bias = nn.Parameter(getattr(experts, f"{name}_bias")[number].detach().clone())
        result.append(linear)
    return result


def unfused(model: Any) -> tuple[Any, dict[str, nn.Linear]]:
    """Return the copy, and the plain matrix of every expert's site."""
    other = copy.deepcopy(model)
    for layer in other.model.layers:
        layer.mlp.experts = SlowExperts(layer.mlp.experts)
    linears = {}
    for site in expert_sites(model):
        layer = other.model.layers[site.layer].mlp.experts
        kind = layer.down if "down_proj" in site.name else layer.up
        linears[site.name] = kind[site.expert]
    return other, linears


def plain_sites(model: Any) -> tuple[Any, list[Site]]:
    """Return the copy, and the sites of the model with the copy's modules."""
    other, linears = unfused(model)
    modules = dict(other.named_modules()) | linears
    return other, [
        replace(site, module=modules[site.name], transposed=False, expert=None)
        for site in find_sites(model)
    ]


def expert_sites(model: Any) -> list[Site]:
    return [site for site in find_sites(model) if site.expert is not None]


def starve(model: Any, number: int) -> None:
    """Let no token come to an expert, in any layer."""
    for layer in model.model.layers:
        router = getattr(layer.mlp, "gate", None) or layer.mlp.router
        router.register_forward_hook(lambda _module, _args, output: _without(output, number))


def _without(output: Any, number: int) -> Any:
    *rest, chosen = output
    free = [next(e for e in range(9) if e != number and e not in row) for row in chosen.tolist()]
    spare = torch.tensor(free).unsqueeze(1).expand_as(chosen)
    return *rest, torch.where(chosen == number, spare, chosen)
