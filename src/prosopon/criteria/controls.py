"""Controls: masks that know nothing of the persona. They stand in every table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prosopon.criteria.base import CRITERIA, ScoredCriterion, SiteInputs
from prosopon.options import NoOptions, require

if TYPE_CHECKING:
    from torch import Tensor


def random_score(inputs: SiteInputs, options: NoOptions) -> Tensor:
    """Uniform noise in [0, 1) from the site's generator."""
    require(inputs.generator is not None, "criterion 'random' needs a seeded generator")
    # Drawn on the CPU, so that a seed means the same mask on every device.
    noise = torch.rand(inputs.weight.shape, generator=inputs.generator)
    return noise.to(inputs.weight.device)


def magnitude_score(inputs: SiteInputs, options: NoOptions) -> Tensor:
    """Absolute value of the weight."""
    return inputs.weight.abs()


CRITERIA.add(
    "random",
    ScoredCriterion(
        name="random",
        summary="control: prunes weights at random (seeded)",
        source="control",
        score=random_score,
        needs=frozenset({"generator"}),
    ),
)
CRITERIA.add(
    "magnitude",
    ScoredCriterion(
        name="magnitude",
        summary="control: prunes the smallest weights",
        source="Han et al. 2015, arXiv 1506.02626",
        score=magnitude_score,
    ),
)
