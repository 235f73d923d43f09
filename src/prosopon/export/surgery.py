"""Cutting dead channels and heads out of a model's tensors and rewriting its configuration.

A Hugging Face configuration has one number of channels and one of heads for all layers, so
every layer keeps as many as the fullest one; what a layer keeps beyond its live ones are dead
channels or heads with their masked weights, which add nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prosopon.export.structure import (
    Block,
    Heads,
    attention_blocks,
    choose_channels,
    choose_heads,
    dead_channels,
    dead_heads,
    mlp_blocks,
)
from prosopon.models import Site

_WIDTHS = ("intermediate_size", "ffn_dim", "n_inner")


@dataclass
class Plan:
    """What to keep of a model.

    Attributes:
        config: The rewritten configuration.
        rows: Int64 rows to keep of sites, by name; others keep all.
        columns: Int64 columns to keep.
        report: Counts for people: live, kept and padded channels and heads.
        notes: What could not be removed, and why.
    """

    config: Any
    rows: dict[str, Tensor] = field(default_factory=dict)
    columns: dict[str, Tensor] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def plan_surgery(model: Any, sites: list[Site], keep: Mapping[str, Tensor]) -> Plan:
    """Find out what can be removed of a model.

    Args:
        model: The ``PreTrainedModel``; its weights are not read.
        sites: All its sites.
        keep: Bool [out, in] masks of some of them.

    Returns:
        A plan, without rows or columns if nothing can be removed.
    """
    plan = Plan(copy.deepcopy(model.config))
    known = {site.name: site for site in sites}
    biased = {site.name for site in sites if getattr(site.module, "bias", None) is not None}
    _plan_channels(plan, model, known, keep, biased)
    _plan_heads(plan, model, known, keep, biased)
    return plan


def cut(state: Mapping[str, Tensor], plan: Plan, sites: list[Site]) -> dict[str, Tensor]:
    """Return a model's tensors with what the plan leaves out removed.

    Args:
        state: Tensors by name; those that stay whole are passed on, not copied.
        plan: The plan.
        sites: The sites that it names.
    """
    result = dict(state)
    for site in sites:
        rows, columns = plan.rows.get(site.name), plan.columns.get(site.name)
        name = f"{site.name}.weight"
        matrix = site.oriented(result[name])
        if rows is not None:
            matrix = matrix.index_select(0, rows.to(matrix.device))
            bias = f"{site.name}.bias"
            if bias in result:
                result[bias] = result[bias].index_select(0, rows.to(result[bias].device))
        if columns is not None:
            matrix = matrix.index_select(1, columns.to(matrix.device))
        if rows is not None or columns is not None:
            result[name] = site.oriented(matrix).contiguous()
    return result


def fits(model: Any, config: Any, plan: Plan, known: Mapping[str, Site]) -> bool:
    """Tell whether the architecture can be what the plan makes of it.

    Builds the model of the configuration without memory and compares every shape, so that no
    list of families is needed; buffers too, because they show what positions are made from.
    """
    try:
        if hasattr(config, "validate"):
            config.validate()
        small = skeleton(config, model.dtype)
    except Exception:  # whatever a family says to a configuration it cannot be
        return False
    wanted = {name: list(tensor.shape) for name, tensor in model.named_parameters()}
    wanted |= {name: list(tensor.shape) for name, tensor in model.named_buffers()}
    for name, site in known.items():
        shape = list(site.shape)
        if name in plan.rows:
            shape[0] = len(plan.rows[name])
            if f"{name}.bias" in wanted:
                wanted[f"{name}.bias"] = [shape[0]]
        if name in plan.columns:
            shape[1] = len(plan.columns[name])
        wanted[f"{name}.weight"] = shape[::-1] if site.transposed else shape
    found = {name: list(tensor.shape) for name, tensor in small.named_parameters()}
    found |= {name: list(tensor.shape) for name, tensor in small.named_buffers()}
    return found == wanted


def skeleton(config: Any, dtype: torch.dtype) -> Any:
    """Build a model on the meta device: shapes without memory."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def _plan_channels(
    plan: Plan, model: Any, known: Mapping[str, Site], keep: Mapping[str, Tensor], biased: set[str]
) -> None:
    """Add the removable channels to a plan."""
    blocks = mlp_blocks(known)
    found = [dead_channels(block, keep, biased) for block in blocks]
    if not blocks or any(dead is None or not dead.any() for dead in found):
        some = sum(dead is not None and bool(dead.any()) for dead in found)
        if some:
            plan.notes.append(
                f"channels: only {some} of {len(blocks)} layers have dead ones, and the "
                "configuration has one width for all, so none were removed"
            )
        return
    masks = [dead for dead in found if dead is not None]
    live = [int((~dead).sum()) for dead in masks]
    total, width = len(masks[0]), max(*live, 1)
    trial = Plan(copy.deepcopy(plan.config))
    for block, dead in zip(blocks, masks, strict=True):
        chosen = choose_channels(dead, width)
        trial.rows |= dict.fromkeys(block.inputs, chosen)
        trial.columns[block.output] = chosen
    if not _set_width(trial.config, total, width) or not fits(model, trial.config, trial, known):
        plan.notes.append(f"channels: {model.config.model_type} cannot be made narrower")
        return
    _adopt(plan, trial)
    plan.report["channels"] = _counts(live, width, total)


def _set_width(config: Any, before: int, width: int) -> bool:
    """Write the number of channels under whatever name the configuration gives it."""
    for name in _WIDTHS:
        if hasattr(config, name) and getattr(config, name) in (before, None):
            setattr(config, name, width)
            return True
    return False


def _plan_heads(
    plan: Plan, model: Any, known: Mapping[str, Site], keep: Mapping[str, Tensor], biased: set[str]
) -> None:
    """Add the removable heads to a plan that has its channels."""
    blocks = attention_blocks(known)
    heads = [_heads(block, known, model.config) for block in blocks]
    if not blocks or len(set(heads)) != 1 or (shape := heads[0]) is None:
        return
    dead = [dead_heads(block, shape, keep, biased) for block in blocks]
    if not all(each.any() for each in dead):
        some = sum(bool(each.any()) for each in dead)
        if some:
            plan.notes.append(
                f"heads: only {some} of {len(blocks)} layers have dead ones, and the "
                "configuration has one number for all, so none were removed"
            )
        return
    for groups, queries in _head_counts(dead, shape):
        trial = _trial(plan, blocks, dead, shape, groups, queries)
        if fits(model, trial.config, trial, known):
            _adopt(plan, trial)
            live = [int((~each).sum()) for each in dead]
            total = shape.groups * shape.queries
            plan.report["heads"] = _counts(live, groups * queries, total) | {
                "key_value_heads": groups,
                "key_value_heads_before": shape.groups,
            }
            return
    plan.notes.append(
        f"heads: no configuration of {model.config.model_type} has as few as are live, so the "
        "dead ones stay as zeros"
    )


def _heads(block: Block, known: Mapping[str, Site], config: Any) -> Heads | None:
    """Return the numbers of heads of a block, from the configuration and the shapes."""
    count = getattr(config, "num_attention_heads", None)
    rows = [known[name].out_features for name in block.inputs]
    if not count or rows[0] % count or rows[1] % (rows[0] // count):
        return None
    size = rows[0] // count
    groups = rows[1] // size
    if count % groups or rows[2] != rows[1] or known[block.output].in_features != rows[0]:
        return None
    return Heads(groups, count // groups, size)


def _head_counts(dead: list[Tensor], shape: Heads) -> Iterator[tuple[int, int]]:
    """Yield (key-value heads, query heads of each) with room for all live ones, fewest first."""
    groups = max(1, *(int((~each.all(dim=1)).sum()) for each in dead))
    queries = max(1, *(int((~each).sum(dim=1).max()) for each in dead))
    counts = [
        (g, q) for g in range(groups, shape.groups + 1) for q in range(queries, shape.queries + 1)
    ]
    counts.remove((shape.groups, shape.queries))
    yield from sorted(counts, key=lambda pair: (pair[0] * pair[1], pair[0]))


def _trial(
    plan: Plan, blocks: list[Block], dead: list[Tensor], shape: Heads, groups: int, queries: int
) -> Plan:
    """Return the plan with so many heads kept."""
    trial = Plan(copy.deepcopy(plan.config), dict(plan.rows), dict(plan.columns))
    within = torch.arange(shape.size)
    for block, each in zip(blocks, dead, strict=True):
        kept, chosen = choose_heads(each, groups, queries)
        values = (kept.unsqueeze(1) * shape.size + within).flatten()
        rows = (chosen.unsqueeze(1) * shape.size + within).flatten()
        query, key, value = block.inputs
        trial.rows |= {query: rows, key: values, value: values}
        trial.columns[block.output] = rows
    trial.config.num_attention_heads = groups * queries
    if hasattr(trial.config, "num_key_value_heads"):
        trial.config.num_key_value_heads = groups
    trial.config.head_dim = shape.size
    return trial


def _adopt(plan: Plan, trial: Plan) -> None:
    """Take over what a trial has shown to work."""
    plan.config = trial.config
    plan.rows |= trial.rows
    plan.columns |= trial.columns


def _counts(live: list[int], kept: int, before: int) -> dict[str, Any]:
    """Describe what is kept of channels or heads, over all layers."""
    return {
        "before": before,
        "kept": kept,
        "live_by_layer": live,
        "padding": sum(kept - each for each in live),
        "removed_share": 1.0 - kept / before,
    }
