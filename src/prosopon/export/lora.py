"""``lora``: the mask approximated by a low rank, for engines that serve LoRA adapters.

The change of a site's weight (minus the pruned weights; elsewhere zero, or what a compensation
adds) is cut to its leading singular vectors. A mask's change has a flat spectrum, so this is an
approximation, often a poor one; the report says how poor.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from prosopon.errors import OptionError
from prosopon.export.base import FORMATS, Format, FormatOptions, Job
from prosopon.export.fidelity import divergence
from prosopon.export.lowrank import factors, squared_error
from prosopon.export.peft_names import PEFT_LOADING, refuse_experts, save_adapter

if TYPE_CHECKING:
    from torch import Tensor


SUMMARY = "an approximation by a PEFT LoRA adapter"


class LoraOptions(FormatOptions):
    """Options of ``lora``."""

    rank: int = Field(default=16, ge=1)  # rank of every site's factors
    seed: int = 0  # of the randomised decomposition of large matrices


def write_lora(job: Job, folder: Path) -> dict[str, Any]:
    """Write a LoRA adapter, and measure on the live model what it loses.

    The factors are stored in the dtype of the weights, and measured as stored.
    """
    from peft import LoraConfig

    rank, sites = job.options.rank, [site for site, _ in job.changed_sites()]
    refuse_experts(sites, "lora")
    if rank > (most := max(min(site.shape) for site in sites)):
        raise OptionError(
            f"option rank={rank}: no matrix of this model has more than {most} directions, and "
            f"rank={most} is exact; choose at most that"
        )
    adapter: dict[str, tuple[Tensor, Tensor]] = {}
    errors: dict[str, tuple[float, float]] = {}
    for site, keep in job.changed_sites():
        weight = site.matrix()
        delta = job.change(site, keep)
        tall, wide = factors(delta, rank, seed=job.options.seed)
        adapter[site.name] = tall.to(weight.dtype), wide.to(weight.dtype)
        errors[site.name] = squared_error(delta, *adapter[site.name])
    tensors = {
        (name, f"lora_{part}.weight"): factor
        for name, (tall, wide) in adapter.items()
        for part, factor in (("A", wide), ("B", tall))
    }
    save_adapter(
        job, folder, LoraConfig, tensors, r=rank, lora_dropout=0.0,
        lora_alpha=rank,  # so that the product counts once
        fan_in_fan_out=any(site.transposed for site in sites),
    )  # fmt: skip
    return {"rank": rank, "sites": len(sites)} | _error_report(errors) | divergence(job, adapter)


def _error_report(errors: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """Return the relative Frobenius errors: of all sites together, and of each."""
    rests, wholes = zip(*errors.values(), strict=True)
    overall = _relative(sum(rests), sum(wholes))
    by_site = {name: _relative(*pair) for name, pair in errors.items()}
    worst = max(by_site, key=lambda name: by_site[name])
    return {
        "relative_error": overall,
        "worst_site": worst,
        "relative_error_by_site": by_site,
        "notes": [
            f"This adapter approximates the mask: the relative Frobenius error of the change is "
            f"{overall:.3f} over all sites and {by_site[worst]:.3f} in the worst ({worst}). An "
            "error of 1 means that nothing of the mask is left."
        ],
    }


def _relative(rest: float, whole: float) -> float:
    return math.sqrt(rest / whole) if whole else 0.0


FORMATS.add(
    "lora",
    Format("lora", SUMMARY, PEFT_LOADING, write_lora, LoraOptions, ("peft",), is_adapter=True),
)
