"""``structured``: a smaller checkpoint, from which dead channels and heads are really gone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from prosopon.errors import ExportError, SiteError
from prosopon.export.base import FORMATS, Format, Job
from prosopon.export.checkpoint import (
    AUTO_LOADING,
    CheckpointOptions,
    load_checkpoint,
    logits,
    probe_tokens,
    save_worn,
)
from prosopon.export.surgery import SurgeryPlan, cut, plan_surgery, skeleton
from prosopon.models import Site, find_sites

if TYPE_CHECKING:
    from torch import Tensor


SUMMARY = "a smaller checkpoint, dead MLP channels and attention heads removed"
_TOLERANCE = 1e-3
_COARSE = 0.1  # of half precision; a wrong channel gives an error near 1


def write_structured(job: Job, folder: Path) -> dict[str, Any]:
    """Cut, save, load the result as anyone would, and compare its logits with the persona's."""
    model, sites = job.model, _all_sites(job)
    plan = plan_surgery(model, sites, job.subnetwork.keep)
    if not plan.rows:
        why = f" ({'; '.join(plan.notes)})" if plan.notes else ""
        raise ExportError(
            f"format 'structured': the mask of {job.subnetwork.config.persona!r} leaves no whole "
            f"MLP channel or attention head to remove{why}; extract with --pattern channels or "
            "heads, or choose --format checkpoint, where pruned weights are zeros"
        )
    tokens = probe_tokens(model)
    small = skeleton(plan.config, model.dtype)
    small.generation_config = model.generation_config
    with job.wearer.persona(job.persona):
        expected = logits(model, tokens)
        save_worn(job, small, folder, cut(model.state_dict(), plan, sites))
    error = _compare(folder, tokens, expected, model.dtype)
    left = zeros_left(job.subnetwork.keep, plan)
    return plan.report | {
        "parameters": sum(parameter.numel() for parameter in small.parameters()),
        "parameters_before": sum(parameter.numel() for parameter in model.parameters()),
        "zeros_left": left,
        "logits_error": error,
        "notes": [*_describe_cuts(plan, left, job.subnetwork.pruned), *plan.notes],
    }


def zeros_left(keep: dict[str, Tensor], plan: SurgeryPlan) -> int:
    """Return how many pruned weights stay in the smaller matrices, as zeros."""
    count = 0
    for name, mask in keep.items():
        if name in plan.rows:
            mask = mask[plan.rows[name]]
        if name in plan.columns:
            mask = mask[:, plan.columns[name]]
        count += int((~mask).sum())
    return count


def _all_sites(job: Job) -> list[Site]:
    """Return every site, since a channel crosses matrices that the mask may not name."""
    try:
        return find_sites(job.model)
    except SiteError:  # something that no mask fits, such as fused experts
        return job.wearer.sites


def _compare(folder: Path, tokens: Tensor, expected: Tensor, dtype: torch.dtype) -> float:
    """Return the relative L2 error of the loaded folder's logits, or refuse it."""
    ours = logits(load_checkpoint(folder), tokens)
    error = float((ours - expected).norm() / expected.norm())
    limit = _TOLERANCE if dtype in (torch.float64, torch.float32) else _COARSE
    if not error <= limit:
        raise ExportError(
            f"format 'structured': the smaller model's logits differ from the persona's by "
            f"{error:.2g} (relative; {limit:g} is allowed), so it is not written; choose "
            "--format checkpoint, and report this"
        )
    return error


def _describe_cuts(plan: SurgeryPlan, left: int, pruned: int) -> list[str]:
    """Describe for people what was removed and what was not."""
    notes = []
    for kind, part in plan.report.items():
        name, padded = "MLP channels", ""
        if kind == "heads":
            queries = part["query_heads_each"]
            grouped = f"key-value heads (each with {queries} queries)"
            name = "attention heads" if queries == 1 else grouped
        if part["padding"]:
            padded = (
                f"; {part['padding']} dead ones stay as padding, because every layer must have as "
                "many"
            )
        notes.append(f"{part['kept']} of {part['before']} {name} a layer are kept{padded}.")
    if left:
        notes.append(
            f"{left:,} of the {pruned:,} pruned weights lie in what is kept and stay as zeros."
        )
    return notes


FORMATS.add(
    "structured", Format("structured", SUMMARY, AUTO_LOADING, write_structured, CheckpointOptions)
)
