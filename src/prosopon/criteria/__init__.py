"""Criteria: pure functions from a weight and its statistics to scores. One file each."""

from prosopon.criteria import (  # noqa: F401  (they register themselves)
    contrastive_effect,
    contrastive_kl,
    contrastive_sparse,
    contrastive_taylor,
    contrastive_wanda,
    controls,
    set_difference,
    sparsegpt,
    wanda,
)
from prosopon.criteria.base import (
    CRITERIA,
    Criterion,
    ScoredCriterion,
    SiteInputs,
    Solution,
    SolvedCriterion,
)
from prosopon.criteria.light import LightCriterion, LightOptions
from prosopon.criteria.owl import layer_sparsities, outlier_share
from prosopon.criteria.wanda import plain_wanda

__all__ = [
    "CRITERIA",
    "Criterion",
    "LightCriterion",
    "LightOptions",
    "ScoredCriterion",
    "SiteInputs",
    "Solution",
    "SolvedCriterion",
    "layer_sparsities",
    "outlier_share",
    "plain_wanda",
]
