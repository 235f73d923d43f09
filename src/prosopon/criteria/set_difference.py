"""Set difference: prune what the opposite needs and neither the target nor general text does."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from prosopon.criteria.base import CRITERIA, ScoredCriterion, SiteInputs
from prosopon.criteria.family import row_shares, top_of_rows
from prosopon.criteria.wanda import plain_wanda
from prosopon.options import option, require

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SetDifferenceOptions:
    """Options of ``set-difference``; shares of each output row."""

    p: float = option(0.2, "what may be pruned: the row's top share by Wanda on the opposite")
    q: float = option(0.1, "never pruned: the row's top share by Wanda on the target")
    general: float = option(0.1, "never pruned: the row's top share by Wanda on general text")

    def __post_init__(self) -> None:
        require(0 < self.p <= 1, f"option p={self.p}: must lie in (0, 1]")
        for name in ("q", "general"):
            value = getattr(self, name)
            require(0 <= value < 1, f"option {name}={value}: must lie in [0, 1)")


def set_difference_score(inputs: SiteInputs, options: SetDifferenceOptions) -> "Tensor":
    """In * (S~+ - S~-) of the weights in the difference of the sets, plus infinity elsewhere.

    The difference is top_p(opposite) without top_q(target) and top_general(general text), each
    by plain Wanda within a row; where the cap leaves some of it, the most contrasted are pruned
    (S~ as in Contrastive-Sparse; times ``in``, so that rows of any length compare).
    """
    target = plain_wanda(inputs, inputs.activations())
    opposite = plain_wanda(inputs, inputs.activations("opposite"))
    pruned = top_of_rows(opposite, options.p) & ~top_of_rows(target, options.q)
    if options.general:
        general = plain_wanda(inputs, inputs.activations("general"))
        pruned &= ~top_of_rows(general, options.general)
    contrast = inputs.weight.shape[1] * (row_shares(target) - row_shares(opposite))
    return torch.where(pruned, contrast, torch.inf)


CRITERIA.add(
    "set-difference",
    ScoredCriterion(
        name="set-difference",
        summary="prunes what the opposite needs and neither the target nor general text does",
        source="docs/design/criteria-family.md; after Wei et al. 2024, arXiv 2402.05162",
        score=set_difference_score,
        needs=frozenset({"target", "opposite", "general"}),
        options=SetDifferenceOptions,
        pattern="global",
        sparsity=0.02,
        general_option="general",
        cap=True,
    ),
)
