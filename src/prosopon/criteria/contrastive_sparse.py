"""Contrastive-Sparse: every weight goes to the persona to which it matters more.

The two masks are disjoint where each keeps half of a row at most. At the default sparsity of 0.3
each keeps 70 percent, so that they share 40.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from prosopon.criteria.base import CRITERIA, ScoredCriterion, SiteInputs
from prosopon.criteria.family import effect_size, row_shares, script_ties
from prosopon.criteria.wanda import Variant, plain_wanda
from prosopon.options import option, require

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ContrastiveSparseOptions:
    """Options of ``contrastive-sparse``."""

    variant: Variant = option(
        "paper",
        "paper: difference of the row-normalised Wanda scores of the two sides; reference: one "
        "contrast score without a direction, the second side gets what the first leaves, equal "
        "scores as torch.topk leaves them",
    )
    first: Literal["target", "opposite"] = option(
        "target", "variant reference: which side takes its weights first"
    )
    eps: float = option(1e-8, "variant reference: added to the denominator of the contrast")

    def __post_init__(self) -> None:
        require(self.eps > 0, f"option eps={self.eps}: must be above 0")
        require(
            self.variant == "reference" or self.first == "target",
            "option first=opposite: only variant=reference has an order; with variant=paper "
            "every weight goes to the side with the higher score",
        )


def contrastive_sparse_score(inputs: SiteInputs, options: ContrastiveSparseOptions) -> Tensor:
    """S~+ - S~-: the contrast C = |S~+ - S~-| of the target's weights, minus C of the others.

    The highest k of a row are therefore the target's own weights by falling contrast and then,
    if they are fewer than k, the opposite's by rising contrast. The masks of the two sides are
    the two ends of one ranking: disjoint if 2k is at most the length of a row, else they share
    the 2k - in weights in its middle, the least contrasted ones.
    """
    if options.variant == "reference":
        return _reference_score(inputs, options)
    ours = row_shares(plain_wanda(inputs, inputs.activations()))
    theirs = row_shares(plain_wanda(inputs, inputs.activations("opposite")))
    return ours - theirs


def _reference_score(inputs: SiteInputs, options: ContrastiveSparseOptions) -> Tensor:
    """|w| |mean+ - mean-| / (sqrt(var+ + var-) + eps) over tokens, signed by the order.

    The score has no direction: whoever is first takes the highest k of a row, the second the
    highest k of what is left. Where less than k is left, the second fills up with weights of the
    first's, all of which count alike: the script's order takes some of them.
    """
    ours, theirs = inputs.activations(), inputs.activations("opposite")
    contrast = effect_size(ours, theirs, "value", options.eps)
    score = inputs.weight.abs() * inputs.channel(contrast.abs())
    if options.first == "target":
        return score
    return score.masked_fill(script_ties(score, inputs.sparsity) > 0, -torch.inf)


def contrastive_sparse_ties(inputs: SiteInputs, options: ContrastiveSparseOptions) -> Tensor:
    """Order what matters equally to both sides by plain Wanda on the target.

    Such a weight belongs to neither side (no rule that exchanging the sides respects could
    tell), so both masks may hold it, also where they are disjoint otherwise.
    """
    if options.variant == "reference":
        return script_ties(_reference_score(inputs, options), inputs.sparsity)
    return plain_wanda(inputs, inputs.activations())


def _check(pattern: str, sparsity: float, options: ContrastiveSparseOptions) -> None:
    require(
        options.variant == "paper" or pattern == "row",
        f"criterion 'contrastive-sparse' with variant=reference takes weights row by row: pattern "
        f"'row' only, not {pattern!r}",
    )


CRITERIA.add(
    "contrastive-sparse",
    ScoredCriterion(
        name="contrastive-sparse",
        summary="each weight to the side with the higher row share; disjoint from sparsity 0.5 on",
        source="Ye et al. 2026, arXiv 2602.07164 (Contrastive-Sparse)",
        score=contrastive_sparse_score,
        needs=frozenset({"target", "opposite"}),
        options=ContrastiveSparseOptions,
        ties=contrastive_sparse_ties,
        check=_check,
    ),
)
