"""``shira``: the mask as a sparse change of the weights, exact, in PEFT's own format.

A SHiRA adapter (Bhardwaj et al. 2024, arXiv:2406.13175) holds for every matrix a list of
positions and what is added there. For a hard mask that is -w at the pruned positions, and
w + (-w) is exactly 0 in every float type.

PEFT gives all matrices one ``r`` and every matrix exactly ``r * (in + out)`` entries, so sites
with fewer pruned weights are filled up with zeros at kept positions. The positions travel in
the file of the weights. With a ``mask_type`` that PEFT does not know and ``inference_mode``, it
draws no mask of its own on loading and takes them from there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from prosopon.errors import ExportError
from prosopon.export.base import FORMATS, Format, Job
from prosopon.export.peft_names import PEFT_LOADING, refuse_experts, save_adapter
from prosopon.models import Site

if TYPE_CHECKING:
    from torch import Tensor


SUMMARY = "an exact PEFT SHiRA adapter, the change of the pruned weights alone"
MASK_TYPE = "prosopon"
"""What the adapter calls its mask; anything but ``random`` will do."""


def shira_rank(pruned: Sequence[tuple[tuple[int, int], int]]) -> int:
    """Return the smallest r with room for all, given ((out, in), pruned weights) of every site."""
    return max(math.ceil(count / (rows + columns)) for (rows, columns), count in pruned)


def shira_entries(weight: Tensor, keep: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return positions, int32 [2, count] (row, column), and values [count] of one site.

    The values, of a base weight [out, in] and its keep-mask, are minus the weight where it is
    pruned, and zero at the first kept weights, which fill up the list to ``count``.
    """
    flat = keep.flatten()
    missing = count - int((~flat).sum())
    chosen = ~flat | (flat & (flat.cumsum(0) <= missing))
    positions = chosen.nonzero().squeeze(1)
    rows, columns = positions // keep.shape[1], positions % keep.shape[1]
    values = torch.where(flat[positions], 0.0, -weight[rows, columns]).to(weight.dtype)
    return torch.stack([rows, columns]).to(torch.int32), values


def write_shira(job: Job, folder: Path) -> dict[str, Any]:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors``; wears nothing."""
    from peft import ShiraConfig

    if job.subnetwork.compensation is not None:
        raise ExportError(
            f"format 'shira': persona {job.subnetwork.config.persona!r} has new values for its "
            "kept weights (a compensation), and an adapter that adds a change to every weight is "
            "neither sparse nor exact; choose --format checkpoint, structured or gguf (exact), or "
            "lora"
        )
    sites = job.changed_sites()
    refuse_experts([site for site, _ in sites], "shira")
    _refuse_conv1d([site for site, _ in sites])
    counts = [int((~keep).sum()) for _, keep in sites]
    rank = shira_rank([(site.shape, n) for (site, _), n in zip(sites, counts, strict=True)])
    _refuse_dense([site for site, _ in sites], counts, rank)
    tensors: dict[tuple[str, str], Tensor] = {}
    for site, keep in sites:
        weight = site.matrix()
        positions, values = shira_entries(weight, keep.to(weight.device), rank * sum(site.shape))
        tensors[site.name, "shira_indices"] = positions
        tensors[site.name, "shira_weight"] = values
    # With such a type PEFT draws no positions of its own, see above.
    save_adapter(job, folder, ShiraConfig, tensors, r=rank, mask_type=MASK_TYPE)
    entries = sum(rank * sum(site.shape) for site, _ in sites)
    return {
        "r": rank,
        "sites": len(sites),
        "entries": entries,
        "filling_share": 1.0 - sum(counts) / entries,
    }


def _refuse_conv1d(sites: Sequence[Site]) -> None:
    """PEFT replaces ``nn.Linear`` alone by a SHiRA layer."""
    turned = next((site for site in sites if site.transposed), None)
    if turned is not None:
        raise ExportError(
            f"format 'shira': site {turned.name!r} is a Conv1D, and PEFT's SHiRA takes nn.Linear "
            "only; choose --format checkpoint (exact) or lora"
        )


def _refuse_dense(sites: Sequence[Site], counts: Sequence[int], rank: int) -> None:
    """PEFT refuses more entries than a matrix has, and r is one for all."""
    small = next((s for s in sites if rank * sum(s.shape) > math.prod(s.shape)), None)
    if small is None:
        return
    count, fullest = max(
        zip(counts, sites, strict=True), key=lambda pair: math.ceil(pair[0] / sum(pair[1].shape))
    )
    raise ExportError(
        f"format 'shira': {fullest.name!r} prunes {count / math.prod(fullest.shape):.1%} of its "
        f"weights and needs r={rank}, which is more entries than {small.name!r} "
        f"{list(small.shape)} has weights, and PEFT takes one r for all sites; choose "
        "--format checkpoint, which is hardly larger for so dense a mask, or lora"
    )


FORMATS.add(
    "shira",
    Format("shira", SUMMARY, PEFT_LOADING, write_shira, packages=("peft",), is_adapter=True),
)
