"""Contrastive-Taylor: prune what argues against the persona, priced by the damage it does."""

from prosopon.criteria.base import CRITERIA
from prosopon.criteria.light import LightCriterion, removal_damage, removal_gain

CRITERIA.add(
    "contrastive-taylor",
    LightCriterion(
        name="contrastive-taylor",
        summary="light mask: prunes what argues against the persona, priced by general damage",
        source="docs/design/criteria.md; after LeCun et al. 1990 (Optimal Brain Damage)",
        gain=removal_gain,
        damage=removal_damage,
    ),
)
