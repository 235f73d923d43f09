"""Cutting dead channels and heads out of a model's tensors and rewriting its configuration.

What belongs together is said by the groups of :func:`prosopon.models.find_groups`. A unit is
dead if all its columns of the matrix that writes its output are pruned: whatever it computes,
nothing of it is read.

A Hugging Face configuration has one number of channels and one of heads for all layers, so
every layer keeps as many as the fullest one; what a layer keeps beyond its live ones are dead
units with their masked weights, which add nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from prosopon.errors import SiteError
from prosopon.models import Site, find_groups
from prosopon.models.groups import COLUMNS, ROWS, Group

if TYPE_CHECKING:
    from torch import Tensor

_ROLES = {"channels": "mlp", "heads": "attention"}


@dataclass
class SurgeryPlan:
    """What to keep of a model: a configuration, and rows and columns of sites."""

    config: Any  # the rewritten configuration
    # int64 rows to keep of sites, ascending, by name; others keep all
    rows: dict[str, Tensor] = field(default_factory=dict)
    columns: dict[str, Tensor] = field(default_factory=dict)  # int64 columns to keep
    report: dict[str, Any] = field(default_factory=dict)  # counts for people, by kind of unit
    notes: list[str] = field(default_factory=list)  # what could not be removed, and why


def plan_surgery(model: Any, sites: Sequence[Site], keep: Mapping[str, Tensor]) -> SurgeryPlan:
    """Return what can be removed of a model with all its sites, of which ``keep`` masks some."""
    plan = SurgeryPlan(copy.deepcopy(model.config))
    for kind, role in _ROLES.items():
        if not any(site.role == role and site.name in keep for site in sites):
            continue
        try:
            groups = find_groups(model, sites, kind)
        except SiteError as error:
            plan.notes.append(f"{kind}: none were removed: {error}")
            continue
        _plan_kind(plan, model, sites, groups, [dead_units(group, keep) for group in groups])
    return plan


def dead_units(group: Group, keep: Mapping[str, Tensor]) -> Tensor:
    """Return which units of a group add nothing, bool [units]; sites without a mask are dense."""
    dead = torch.zeros(group.units, dtype=torch.bool)
    for part in group.parts:
        if part.axis == COLUMNS and part.site in keep:
            dead |= (~keep[part.site].any(dim=0))[part.indices].all(dim=1)
    return dead


def choose_units(dead: Tensor, count: int) -> Tensor:
    """Return the units to keep, int64 [count], ascending: live ones, and dead ones as padding."""
    return dead.int().argsort(stable=True)[:count].sort().values


def cut(state: Mapping[str, Tensor], plan: SurgeryPlan, sites: Iterable[Site]) -> dict[str, Tensor]:
    """Return a model's tensors with what the plan leaves out removed; whole ones are not copied."""
    result = dict(state)
    for site in sites:
        rows, columns = plan.rows.get(site.name), plan.columns.get(site.name)
        name, bias = f"{site.name}.weight", f"{site.name}.bias"
        if rows is not None:
            result[name] = _select(site, result[name], 0, rows)
            if bias in result:
                result[bias] = result[bias].index_select(0, rows.to(result[bias].device))
        if columns is not None:
            result[name] = _select(site, result[name], 1, columns)
    return result


def _select(site: Site, tensor: Tensor, dim: int, places: Tensor) -> Tensor:
    chosen = site.oriented(tensor).index_select(dim, places.to(tensor.device))
    return site.oriented(chosen).contiguous()


def skeleton(config: Any, dtype: torch.dtype) -> Any:
    """Build a model on the meta device: shapes without memory."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def fits(model: Any, plan: SurgeryPlan, sites: Iterable[Site]) -> bool:
    """Tell whether the architecture can be what the plan makes of it.

    Builds the model without memory and compares every shape, so that no list of families is
    needed; buffers too, because they show how wide a head's positions are.
    """
    try:
        if hasattr(plan.config, "validate"):
            plan.config.validate()
        small = skeleton(plan.config, model.dtype)
    except Exception:  # whatever a family says to a configuration that it cannot be
        return False
    wanted = _shapes(model)
    for site in sites:
        shape = list(site.shape)
        if site.name in plan.rows:
            shape[0] = len(plan.rows[site.name])
            if f"{site.name}.bias" in wanted:
                wanted[f"{site.name}.bias"] = shape[:1]
        if site.name in plan.columns:
            shape[1] = len(plan.columns[site.name])
        wanted[f"{site.name}.weight"] = shape[::-1] if site.transposed else shape
    return _shapes(small) == wanted


def _shapes(model: Any) -> dict[str, list[int]]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: list(tensor.shape) for name, tensor in tensors}


def _plan_kind(
    plan: SurgeryPlan, model: Any, sites: Sequence[Site], groups: list[Group], dead: list[Tensor]
) -> None:
    """Add the units of one kind to the plan, as few as the configuration can say."""
    kind, units = groups[0].kind, groups[0].units
    some = sum(bool(group.any()) for group in dead)
    if not some:
        return
    if some < len(groups) or any(group.units != units for group in groups):
        plan.notes.append(
            f"{kind}: {some} of {len(groups)} layers have dead ones, and the configuration has "
            "one number for all, so none were removed"
        )
        return
    live = [int((~group).sum()) for group in dead]
    least = max(*live, 1)
    # A family may refuse some numbers of heads; of channels it takes any or none.
    for count in range(least, units if kind == "heads" else least + 1):
        trial = _trial(plan, groups, dead, count)
        if fits(model, trial, sites):
            plan.config, plan.rows, plan.columns = trial.config, trial.rows, trial.columns
            plan.report[kind] = _counts(groups[0], live, count)
            return
    plan.notes.append(
        f"{kind}: a configuration of {model.config.model_type} cannot say that there are fewer, "
        "so the dead ones stay as zeros"
    )


def _trial(plan: SurgeryPlan, groups: list[Group], dead: list[Tensor], count: int) -> SurgeryPlan:
    """Return the plan with so many units of every group kept."""
    trial = SurgeryPlan(copy.deepcopy(plan.config), dict(plan.rows), dict(plan.columns))
    for group, units in zip(groups, dead, strict=True):
        chosen = choose_units(units, count)
        for part in group.parts:
            places = trial.rows if part.axis == ROWS else trial.columns
            # In the order of the matrix, also where it holds several things one after another.
            places[part.site] = part.indices[chosen].flatten().sort().values
    for name, each_unit in groups[0].shrinks.items():
        setattr(trial.config, name, each_unit * count)
    if groups[0].kind == "heads":  # no longer the hidden size divided by the heads
        columns = next(p.indices.shape[1] for p in groups[0].parts if p.axis == COLUMNS)
        trial.config.head_dim = columns // _queries(groups[0])
    return trial


def _queries(group: Group) -> int:
    """Return how many query heads a unit of heads has."""
    return group.shrinks.get("num_attention_heads", 1)


def _counts(group: Group, live: list[int], size: int) -> dict[str, Any]:
    """Describe what is kept, over all layers."""
    counts = {
        "before": group.units,
        "kept": size,
        "live_by_layer": live,
        "padding": sum(size - count for count in live),
        "removed_share": 1.0 - size / group.units,
    }
    return counts | ({"query_heads_each": _queries(group)} if group.kind == "heads" else {})
