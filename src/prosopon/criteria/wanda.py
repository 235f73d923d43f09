"""Wanda pointed at a persona: weight magnitude times the persona's activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from prosopon.criteria.base import CRITERIA, Criterion, SiteInputs, option

Variant = Literal["paper", "reference"]


@dataclass(frozen=True)
class WandaOptions:
    """Options of ``wanda``."""

    variant: Variant = option(
        "paper",
        "paper: mean absolute activation per token; reference: mean over texts of the L2 norm, "
        "as the released script computes it",
    )


def wanda_score(inputs: SiteInputs, options: WandaOptions) -> Tensor:
    """|w_ij| * A_j, with A_j = E|h_j| over the target's tokens (paper) or the mean norm."""
    statistics = inputs.activations()
    activation = statistics.mean_abs if options.variant == "paper" else statistics.norm_mean
    return inputs.weight.abs() * inputs.channel(activation)


CRITERIA.add(
    "wanda",
    Criterion(
        name="wanda",
        summary="|weight| x the persona's mean activation, per output row",
        source="Ye et al. 2026, arXiv 2602.07164 (activation-guided); Sun et al. 2024, 2306.11695",
        score=wanda_score,
        needs=frozenset({"target"}),
        options=WandaOptions,
    ),
)
