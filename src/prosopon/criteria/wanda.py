"""Wanda pointed at a persona: weight magnitude times the persona's activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from prosopon.criteria.base import CRITERIA, ScoredCriterion, SiteInputs
from prosopon.criteria.family import FamilyOptions, script_ties, weight_importance
from prosopon.options import option, require
from prosopon.statistics import ChannelStatistics

if TYPE_CHECKING:
    from torch import Tensor

Variant = Literal["paper", "reference"]


@dataclass(frozen=True)
class WandaOptions(FamilyOptions):
    """Options of ``wanda``."""

    variant: Variant = option(
        "paper",
        "paper: mean absolute activation per token; reference: mean over texts of the L2 norm, "
        "as the released script computes it",
    )
    alpha: float = option(1.0, "exponent of the activation; RIA takes 0.5")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.alpha >= 0, f"option alpha={self.alpha}: must not be negative")


def wanda_score(inputs: SiteInputs, options: WandaOptions) -> Tensor:
    """|w_ij| * A_j, with A_j = E|h_j| over the target's tokens (paper) or the mean norm.

    With ``importance=relative`` and ``alpha=0.5`` it is RIA.
    """
    statistics = inputs.activations()
    activation = statistics.mean_abs if options.variant == "paper" else statistics.norm_mean
    if options.alpha != 1.0:
        activation = activation**options.alpha
    return weight_importance(inputs.weight, options.importance) * inputs.channel(activation)


def script_order(inputs: SiteInputs, options: WandaOptions) -> Tensor | None:
    """Order equal scores as the released script does, with ``variant=reference``."""
    if options.variant == "paper":
        return None
    return script_ties(wanda_score(inputs, options), inputs.sparsity)


def plain_wanda(inputs: SiteInputs, statistics: ChannelStatistics) -> Tensor:
    """|w_ij| * E|h_j| over any side's tokens, ``[out, in]``, float32."""
    return inputs.weight.abs() * inputs.channel(statistics.mean_abs)


CRITERIA.add(
    "wanda",
    ScoredCriterion(
        name="wanda",
        summary="|weight| x the persona's mean activation, per output row",
        source="Ye et al. 2026, arXiv 2602.07164 (activation-guided); Sun et al. 2024, 2306.11695",
        score=wanda_score,
        ties=script_order,
        needs=frozenset({"target"}),
        options=WandaOptions,
    ),
)
