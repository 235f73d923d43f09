"""``lora``: a PEFT LoRA adapter, exact where the mask lies in few rows and columns.

The change of a site's weight is minus its pruned weights. Where these lie in as many rows and
columns as the adapter has ranks, the adapter is that change bit for bit
(:mod:`prosopon.export.cover`). Any other change is cut to its leading singular vectors: a mask's
change has a flat spectrum, so this is an approximation, often a poor one; the report says how
poor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from prosopon.errors import OptionError
from prosopon.export.base import FORMATS, Format, FormatOptions, Job
from prosopon.export.cover import exact_factors, minimum_cover
from prosopon.export.fidelity import divergence
from prosopon.export.lowrank import factors, squared_error
from prosopon.export.peft_names import PEFT_LOADING, refuse_experts, save_adapter

if TYPE_CHECKING:
    from torch import Tensor


SUMMARY = "a PEFT LoRA adapter: exact where the mask lies in few rows and columns"
MOST_EXACT = 64  # the largest rank that is taken unasked, so that the adapter is exact
APPROXIMATE = 16  # the rank where that is not enough


class LoraOptions(FormatOptions):
    """Options of ``lora`` and ``gguf-lora``."""

    rank: int | None = Field(default=None, ge=1)  # most; None: what is exact, if at most 64
    seed: int = 0  # of the randomised decomposition of large matrices


@dataclass(frozen=True)
class MaskFactors:
    """A mask as factors.

    Attributes:
        factors: (B [out, rank], A [rank, in]) of every site that changes, in the weight's dtype.
        rank: Of all factors.
        needed: The least rank that is exact; None under a compensation, which is never exact.
        fullest: The site that needs it.
        errors: Squared Frobenius norms of what is lost and of the change, of every site.
    """

    factors: Mapping[str, tuple[Tensor, Tensor]]
    rank: int
    needed: int | None
    fullest: str
    errors: Mapping[str, tuple[float, float]]

    @property
    def exact(self) -> bool:
        """Whether the factors are the mask, bit for bit."""
        return self.needed is not None and self.needed <= self.rank

    def report(self) -> dict[str, Any]:
        """Return what there is to say, with a note for people."""
        exact = {"exact": self.exact, "rank": self.rank, "rank_needed": self.needed}
        report = {**exact, "sites": len(self.factors), **_error_report(self.errors)}
        if self.exact:
            report["notes"] = [
                f"This adapter is the mask exactly: its pruned weights lie in at most "
                f"{self.needed} rows and columns of a site. At scale s they count 1 - s of what "
                "they were."
            ]
        elif self.needed is not None:
            report["notes"].append(
                f"Rank {self.needed} would be exact (--option rank={self.needed}): in as many rows "
                f"and columns lie the pruned weights of {self.fullest}. A mask made with --pattern "
                "lora:R is exact at rank R."
            )
        return report


def make_adapter(job: Job) -> MaskFactors:
    """Return the mask as factors, exact if the rank allows.

    Raises:
        OptionError: A rank that no matrix has.
    """
    limit, changed = job.options.rank, job.changed_sites()
    if limit and limit > (most := max(min(site.shape) for site, _ in changed)):
        raise OptionError(
            f"option rank={limit}: no matrix of this model has more than {most} directions, and "
            f"rank={most} is exact; choose at most that"
        )
    covers, needed, fullest = {}, None, ""
    if job.subnetwork.compensation is None:
        covers = {site.name: minimum_cover(job.change(site, keep) != 0) for site, keep in changed}
        sizes = {name: sum(map(len, cover)) for name, cover in covers.items()}
        fullest = max(sizes, key=lambda name: sizes[name])
        needed = max(sizes[fullest], 1)
    rank = limit or APPROXIMATE
    if needed is not None and needed <= (limit or MOST_EXACT):
        rank = needed
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    errors: dict[str, tuple[float, float]] = {}
    for site, keep in changed:
        dtype, delta = site.matrix().dtype, job.change(site, keep)
        if needed is not None and needed <= rank:
            tall, wide = exact_factors(delta, covers[site.name], rank)
        else:
            tall, wide = factors(delta, rank, seed=job.options.seed)
        pairs[site.name] = tall.to(dtype), wide.to(dtype)
        errors[site.name] = squared_error(delta, *pairs[site.name])
    return MaskFactors(pairs, rank, needed, fullest, errors)


def write_lora(job: Job, folder: Path) -> dict[str, Any]:
    """Write a LoRA adapter, and measure on the live model what it loses.

    The factors are stored in the dtype of the weights, and measured as stored.
    """
    from peft import LoraConfig

    refuse_experts([site for site, _ in job.changed_sites()], "lora")
    adapter = make_adapter(job)
    tensors = {
        (name, f"lora_{part}.weight"): factor
        for name, (tall, wide) in adapter.factors.items()
        for part, factor in (("A", wide), ("B", tall))
    }
    save_adapter(
        job, folder, LoraConfig, tensors, r=adapter.rank, lora_dropout=0.0,
        lora_alpha=adapter.rank,  # so that the product counts once
        fan_in_fan_out=any(site.transposed for site, _ in job.changed_sites()),
    )  # fmt: skip
    return adapter.report() | divergence(job, adapter.factors)


def _error_report(errors: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
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
