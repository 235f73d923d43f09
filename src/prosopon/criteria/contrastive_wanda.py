"""Contrastive-Wanda: weight magnitude times how far the target's activations stand out.

The released code masks the output head as well where one calls it so; no mask of ours ever does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from prosopon.criteria.base import CRITERIA, ScoredCriterion, SiteInputs
from prosopon.criteria.family import FamilyOptions, effect_size, script_ties, weight_importance
from prosopon.criteria.wanda import Variant, WandaOptions, wanda_score
from prosopon.options import option, require

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ContrastiveWandaOptions(FamilyOptions):
    """Options of ``contrastive-wanda``."""

    variant: Variant = option(
        "paper",
        "paper: mean and variance over texts of the channel's root mean square, which does not "
        "grow with length, and equal scores by plain Wanda; reference: of its L2 norm, and equal "
        "scores as torch.topk leaves them, as the released script does",
    )
    phi: Literal["relu", "softplus"] = option("relu", "what is made of the effect size z")
    tau: float = option(2.0, "temperature of softplus(z / tau)")
    eps: float = option(1e-8, "added to the denominator of z")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.tau > 0, f"option tau={self.tau}: must be above 0")
        require(self.eps > 0, f"option eps={self.eps}: must be above 0")


def contrastive_wanda_score(inputs: SiteInputs, options: ContrastiveWandaOptions) -> Tensor:
    """|w_ij| * phi(z_j), z the effect size of the target's norms against the opposite's.

    With ``importance=relative`` RIA's relative importance stands for |w_ij|.
    """
    moments = "rms" if options.variant == "paper" else "norm"
    z = effect_size(inputs.activations(), inputs.activations("opposite"), moments, options.eps)
    value = (
        torch.relu(z) if options.phi == "relu" else torch.nn.functional.softplus(z / options.tau)
    )
    return weight_importance(inputs.weight, options.importance) * inputs.channel(value)


def wanda_ties(inputs: SiteInputs, options: ContrastiveWandaOptions) -> Tensor:
    """Order what relu made equal by plain Wanda on the target; the reference as the script does."""
    if options.variant == "reference":
        return script_ties(contrastive_wanda_score(inputs, options), inputs.sparsity)
    return wanda_score(inputs, WandaOptions(variant=options.variant))


CRITERIA.add(
    "contrastive-wanda",
    ScoredCriterion(
        name="contrastive-wanda",
        summary="|weight| x phi(effect size of the target's activations against the opposite's)",
        source="Ye et al. 2026, arXiv 2602.07164 (Contrastive-Wanda)",
        score=contrastive_wanda_score,
        needs=frozenset({"target", "opposite"}),
        options=ContrastiveWandaOptions,
        ties=wanda_ties,
    ),
)
