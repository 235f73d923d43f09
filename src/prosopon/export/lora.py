"""``lora``: the mask approximated by a low rank, for engines that serve LoRA adapters.

The change of a site's weight (minus the pruned weights; elsewhere zero, or what a compensation
adds) is cut to its leading
singular vectors. A mask's change has a flat spectrum, so this is an approximation, often a poor
one; the report says how poor.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from prosopon.errors import OptionError
from prosopon.export import fidelity
from prosopon.export.base import FORMATS, Format, FormatOptions, Job
from prosopon.export.lowrank import factors, squared_error
from prosopon.export.peft_names import ADAPTER_WEIGHTS, PEFT_LOADING, target_modules, weight_key
from prosopon.models import Site

if TYPE_CHECKING:
    from torch import Tensor


class LoraOptions(FormatOptions):
    """Options of ``lora``.

    Attributes:
        rank: Rank of every site's factors.
        seed: Of the randomised decomposition of large matrices.
    """

    rank: int = Field(default=16, ge=1)
    seed: int = 0


def write_lora(job: Job, folder: Path) -> dict[str, Any]:
    """Write a LoRA adapter, and measure on the live model what it loses.

    The factors are stored in the dtype of the weights, and measured as stored.

    Raises:
        OptionError: The rank is larger than any matrix has directions.
    """
    rank, sites = job.options.rank, [site for site, _ in job.changed_sites()]
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
    _save(job, folder, sites, adapter)
    return {"rank": rank, "sites": len(sites)} | _error_report(errors) | _divergence(job, adapter)


def _save(job: Job, folder: Path, sites: list[Site], adapter: fidelity.Factors) -> None:
    """Write the two files of the adapter."""
    from peft import LoraConfig
    from safetensors.torch import save_file

    tensors = {}
    for name, (tall, wide) in adapter.items():
        tensors[weight_key(name, "lora_A")] = wide.cpu().contiguous()
        tensors[weight_key(name, "lora_B")] = tall.cpu().contiguous()
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    LoraConfig(
        r=job.options.rank,
        lora_alpha=job.options.rank,  # so that the product counts once
        lora_dropout=0.0,
        inference_mode=True,
        task_type="CAUSAL_LM",
        target_modules=target_modules(sites, job.model),
        fan_in_fan_out=any(site.transposed for site in sites),
        base_model_name_or_path=job.base_model,
        revision=job.revision,
    ).save_pretrained(folder)


def _error_report(errors: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """Return the relative Frobenius errors: of all sites together, and of each."""
    by_site = {
        name: math.sqrt(rest / whole) if whole else 0.0 for name, (rest, whole) in errors.items()
    }
    rest, whole = (sum(pair[i] for pair in errors.values()) for i in (0, 1))
    overall = math.sqrt(rest / whole) if whole else 0.0
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


def _divergence(job: Job, change: fidelity.Factors) -> dict[str, Any]:
    """Compare next-token distributions on the prompts: persona, adapter, base."""
    if job.tokenizer is None:
        return {"divergence": None}
    rows = fidelity.prompt_tokens(fidelity.PROMPTS, job.tokenizer)
    base = fidelity.all_logits(job.model, rows)
    with fidelity.add_factors(job.wearer.sites, change):
        adapter = fidelity.all_logits(job.model, rows)
    with job.wearer.persona(job.persona):
        persona = fidelity.all_logits(job.model, rows)
    return {
        "divergence": {
            "adapter": fidelity.mean_divergence(persona, adapter),
            "base": fidelity.mean_divergence(persona, base),
            "tokens": sum(row.shape[1] for row in rows),
            "prompts": len(rows),
        }
    }


FORMATS.add(
    "lora",
    Format(
        "lora",
        "an approximation by a PEFT LoRA adapter",
        PEFT_LOADING,
        write_lora,
        LoraOptions,
        packages=("peft",),
        is_adapter=True,
    ),
)
