"""Criteria: pure functions from a weight and its statistics to scores. One file each."""

from prosopon.criteria import contrastive_taylor, contrastive_wanda, controls, wanda
from prosopon.criteria.base import CRITERIA, Criterion, NoOptions, SiteInputs
from prosopon.criteria.contrastive_taylor import (
    ContrastiveTaylorOptions,
    removal_damage,
    removal_gain,
)
from prosopon.criteria.contrastive_wanda import ContrastiveWandaOptions
from prosopon.criteria.wanda import WandaOptions

__all__ = [
    "CRITERIA",
    "ContrastiveTaylorOptions",
    "ContrastiveWandaOptions",
    "Criterion",
    "NoOptions",
    "SiteInputs",
    "WandaOptions",
    "contrastive_taylor",
    "contrastive_wanda",
    "controls",
    "removal_damage",
    "removal_gain",
    "wanda",
]
