"""Contrastive effect: prune what carries the opposite, from forward passes alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from prosopon.criteria.base import CRITERIA, ScoredCriterion, SiteInputs
from prosopon.criteria.family import effect_size
from prosopon.options import option, require

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ContrastiveEffectOptions:
    """Options of ``contrastive-effect``."""

    effect: Literal["token", "sample"] = option(
        "token",
        "what the effect size is of: |h| over tokens, or the root mean square over texts",
    )
    protect: float = option(
        0.0,
        "lambda: how much of what general text gets through a channel is subtracted; fewer "
        "weights qualify, and less language is lost",
    )

    def __post_init__(self) -> None:
        require(self.protect >= 0, f"option protect={self.protect}: must not be negative")


def contrastive_effect_score(inputs: SiteInputs, options: ContrastiveEffectOptions) -> "Tensor":
    """Minus |w_ij| (E-|h_j| z_j - lambda sqrt(E_g h_j^2)), plus infinity where that is no gain.

    z is the standardised difference of the opposite's activation and the target's. A weight is
    worth pruning if it is large and its channel is active for the opposite, more than for the
    target, and not much used by general text.
    """
    target, opposite = inputs.activations(), inputs.activations("opposite")
    moments = "size" if options.effect == "token" else "rms"
    worth = opposite.mean_abs * effect_size(opposite, target, moments)
    if options.protect:
        general = inputs.activations("general")
        worth = worth - options.protect * (general.total_square / general.tokens).sqrt()
    gain = inputs.weight.abs() * inputs.channel(worth)
    return torch.where(gain > 0, -gain, torch.inf)


CRITERIA.add(
    "contrastive-effect",
    ScoredCriterion(
        name="contrastive-effect",
        summary="prunes large weights of channels that stand out for the opposite; forward only",
        source="docs/design/criteria-family.md",
        score=contrastive_effect_score,
        needs=frozenset({"target", "opposite", "general"}),
        options=ContrastiveEffectOptions,
        pattern="global",
        sparsity=0.01,
        general_option="protect",
        cap=True,
    ),
)
