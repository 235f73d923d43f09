"""Contrastive-Taylor: prune what argues against the persona, priced by the damage it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from prosopon.criteria.base import CRITERIA, Criterion, SiteInputs, option, require


@dataclass(frozen=True)
class ContrastiveTaylorOptions:
    """Options of ``contrastive-taylor``."""

    rounds: int = option(20, "rounds of pruning; scores add up, a pruned weight may return")
    beta: float = option(3.0, "weight of the target's own likelihood in the objective")
    general: float = option(3.0, "weight of general text's likelihood in the objective")
    damage: float = option(30.0, "lambda: weight of the second-order damage to general text")
    odds: Literal["shift", "logistic", "linear"] = option(
        "shift",
        "log-odds term: softplus of minus their change against the base in nats an answer; "
        "softplus of minus the margin per token; or minus the margin",
    )

    def __post_init__(self) -> None:
        require(self.rounds >= 1, f"option rounds={self.rounds}: must be at least 1")
        for name in ("beta", "general", "damage"):
            value = getattr(self, name)
            require(value >= 0, f"option {name}={value}: must not be negative")


def contrastive_taylor_score(inputs: SiteInputs, options: ContrastiveTaylorOptions) -> Tensor:
    """-(w dL/dw - lambda/2 F w^2): the negated gain of pruning, so that the highest are kept.

    A weight with a score of zero or more is never pruned: removing it would not pay.
    """
    gradient, fisher = inputs.gradient, inputs.fisher
    require(gradient is not None, "criterion 'contrastive-taylor' needs gradients")
    assert gradient is not None
    gain = inputs.weight * gradient
    if options.damage:
        require(fisher is not None, "option damage needs the Fisher diagonal of general text")
        assert fisher is not None
        gain = gain - (0.5 * options.damage) * fisher * inputs.weight.square()
    return -gain


CRITERIA.add(
    "contrastive-taylor",
    Criterion(
        name="contrastive-taylor",
        summary="light mask: prunes what argues against the persona, priced by general damage",
        source="docs/design/criteria.md; after LeCun et al. 1990 (Optimal Brain Damage)",
        score=contrastive_taylor_score,
        needs=frozenset({"gradient", "fisher"}),
        options=ContrastiveTaylorOptions,
        pattern="global",
        sparsity=0.003,
    ),
)
