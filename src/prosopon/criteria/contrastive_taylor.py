"""Contrastive-Taylor: prune what argues against the persona, priced by the damage it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from prosopon.criteria.base import CRITERIA, Criterion, SiteInputs
from prosopon.options import option, require


@dataclass(frozen=True)
class ContrastiveTaylorOptions:
    """Options of ``contrastive-taylor``."""

    rounds: int = option(48, "rounds of pruning; gains add up, a pruned weight may return")
    batch: int = option(16, "pairs and general texts whose gradients a round takes")
    beta: float = option(3.0, "weight of the target's own likelihood in the objective")
    general: float = option(3.0, "weight of general text's likelihood in the objective")
    damage: float = option(300.0, "lambda: weight of the second-order damage to general text")
    protect: float = option(3.0, "weight of the change of protected contrasts (--protect)")
    odds: Literal["shift", "logistic", "linear"] = option(
        "shift",
        "log-odds term: softplus of minus their change against the base in nats an answer; "
        "softplus of minus the margin per token; or minus the margin",
    )
    free: Literal["auto"] | float = option(
        "auto",
        "weight of free text: every round the masked model writes, a judge trained on the "
        "examples says whose each text is, and what makes the persona's likelier gains; auto: "
        "500 for plain texts under --sparsity auto, else 0",
    )
    texts: int = option(128, "free texts that a round writes")
    word_dropout: float = option(
        1.0,
        "most of a question's words that its second copy leaves out, a share; 0: no copies",
    )
    tolerance: float = option(
        0.05, "for --sparsity auto: how much general perplexity may rise, as a share"
    )
    most: float = option(0.01, "for --sparsity auto: the largest mask that is tried, as a share")

    def __post_init__(self) -> None:
        for name in ("rounds", "batch", "texts"):
            value = getattr(self, name)
            require(value >= 1, f"option {name}={value}: must be at least 1")
        for name in ("beta", "general", "damage", "protect", "tolerance"):
            value = getattr(self, name)
            require(value >= 0, f"option {name}={value}: must not be negative")
        require(
            self.free == "auto" or self.free >= 0,
            f"option free={self.free}: must be auto or not negative",
        )
        require(0 < self.most <= 1, f"option most={self.most}: must be a share above 0, up to 1")
        share = self.word_dropout
        require(0 <= share <= 1, f"option word_dropout={share}: must be a share from 0 to 1")


def removal_gain(weight: Tensor, gradient: Tensor) -> Tensor:
    """Return w dL/dw, float32: how much L falls, to first order, when the weight goes."""
    return weight.float() * gradient.float()


def removal_damage(weight: Tensor, fisher: Tensor) -> Tensor:
    """Return F w^2 / 2, float32: nats per token of general text lost, to second order."""
    return 0.5 * fisher * weight.float().square()


def contrastive_taylor_score(inputs: SiteInputs, options: ContrastiveTaylorOptions) -> Tensor:
    """-(w dL/dw - lambda F w^2 / 2): the negated gain of pruning, so that the highest are kept.

    A weight with a score of zero or more is never pruned: removing it would not pay. This is
    one round; :class:`prosopon.extraction.light.LightPath` adds up the gains of many.
    """
    gradient, fisher = inputs.gradient, inputs.fisher
    require(gradient is not None, "criterion 'contrastive-taylor' needs gradients")
    assert gradient is not None
    gain = removal_gain(inputs.weight, gradient)
    if options.damage:
        require(fisher is not None, "option damage needs the Fisher diagonal of general text")
        assert fisher is not None
        gain = gain - options.damage * removal_damage(inputs.weight, fisher)
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
        sparsity=0.006,
    ),
)
