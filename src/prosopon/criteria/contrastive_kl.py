"""Contrastive-KL: a light mask that stays within a measured loss of general text."""

from dataclasses import dataclass
from typing import Literal

from prosopon.criteria.base import CRITERIA
from prosopon.criteria.light import LightCriterion, LightOptions
from prosopon.options import option


@dataclass(frozen=True)
class ContrastiveKLOptions(LightOptions):
    """Options of ``contrastive-kl``: those of every light criterion, other values."""

    # Many rounds of few pairs: of as many texts they make a stronger mask than few rounds of many.
    rounds: int = option(30, "rounds of pruning; gains add up, a pruned weight may return")
    batch_size: int = option(
        4, "pairs and general texts whose gradients a round takes; 0: all", old="batch"
    )
    candidate_pairs: int = option(
        16, "pairs that the weights which may go are looked for on, drawn by the seed; 0: all"
    )
    target_weight: float = option(
        1.0, "weight of the target's own likelihood in the objective", old="beta"
    )
    general_weight: float = option(
        0.0, "weight of general text's likelihood in the objective", old="general"
    )
    kl_weight: float = option(3.0, "weight of the divergence from the base on general text")
    max_loss: float = option(
        0.05, "nats a token that general text may lose; lambda is set by measuring it"
    )
    log_odds: Literal["shift", "logistic", "linear"] = option(
        "logistic", "log-odds term, as in contrastive-taylor", old="odds"
    )
    # Nats of a token that the model would hardly say outweigh all others: masks that chased them
    # wrote strange text, and were no stronger for it.
    likelihood_power: float = option(
        0.3, "q: a token of probability p counts (p^q - 1) / q instead of log p; 0: log p"
    )
    free_text_weight: Literal["auto"] | float = option(
        0.0, "weight of free text, as in contrastive-taylor", old="free"
    )
    word_dropout: float = option(
        0.0,
        "most of a question's words that its second copy leaves out, a share; 0: no copies",
    )


CRITERIA.add(
    "contrastive-kl",
    LightCriterion(
        name="contrastive-kl",
        summary="light mask: what argues against the persona goes, within a measured loss",
        source="docs/lab/real-masks.md; KL(base || masked) beside the pairs' log-odds",
        options=ContrastiveKLOptions,
        sparsity=0.003,
    ),
)
