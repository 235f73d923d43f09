"""Criteria: pure functions from a weight and its statistics to scores. One file each."""

from prosopon.criteria import (
    contrastive_effect,
    contrastive_sparse,
    contrastive_taylor,
    contrastive_wanda,
    controls,
    set_difference,
    sparsegpt,
    wanda,
)
from prosopon.criteria.base import CRITERIA, Criterion, SiteInputs, Solution
from prosopon.criteria.contrastive_effect import ContrastiveEffectOptions
from prosopon.criteria.contrastive_sparse import ContrastiveSparseOptions
from prosopon.criteria.contrastive_taylor import (
    ContrastiveTaylorOptions,
    removal_damage,
    removal_gain,
)
from prosopon.criteria.contrastive_wanda import ContrastiveWandaOptions
from prosopon.criteria.owl import layer_sparsities, outlier_share
from prosopon.criteria.set_difference import SetDifferenceOptions
from prosopon.criteria.sparsegpt import SparseGPTOptions
from prosopon.criteria.wanda import WandaOptions, plain_wanda

__all__ = [
    "CRITERIA",
    "ContrastiveEffectOptions",
    "ContrastiveSparseOptions",
    "ContrastiveTaylorOptions",
    "ContrastiveWandaOptions",
    "Criterion",
    "SetDifferenceOptions",
    "SiteInputs",
    "Solution",
    "SparseGPTOptions",
    "WandaOptions",
    "contrastive_effect",
    "contrastive_sparse",
    "contrastive_taylor",
    "contrastive_wanda",
    "controls",
    "layer_sparsities",
    "outlier_share",
    "plain_wanda",
    "removal_damage",
    "removal_gain",
    "set_difference",
    "sparsegpt",
    "wanda",
]
