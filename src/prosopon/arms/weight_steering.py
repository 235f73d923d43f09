"""The arm ``weight-steering``: what learning the target changes, less what the opposite changes.

Contrastive weight arithmetic (Fierro and Roger 2025, arXiv 2511.05408): one LoRA is trained on
the target's answers and one on the opposite's; their difference, scaled, is added to the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from prosopon.arms.base import ARMS, Lab
from prosopon.arms.lora import Adapter, LoraArm, LoraArmOptions, train_side
from prosopon.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class WeightSteeringOptions(LoraArmOptions):
    """Options of ``weight-steering``: those of ``lora``, other values."""

    word_dropout: float = option(0.0, "as in lora; 0: no copies")
    max_loss: float = option(0.05, "as in lora")


class WeightSteeringArm(LoraArm):
    """The difference of two adapters on every Linear layer, one of each side."""

    name = "weight-steering"
    summary = "LoRA on the target less LoRA on the opposite, as strong as general text bears"
    options = WeightSteeringOptions

    def train(self, lab: Lab, options: Any) -> Adapter:
        """Return the adapter of the difference."""
        target, opposite = (
            train_side(lab, side, options, f"training LoRA on {side.name}")
            for side in lab.contrast.drawn(lab.examples, lab.seed)
        )
        state = subtract(target.state, opposite.state)
        texts = sum(side.details["texts_backward"] for side in (target, opposite))
        details = {**target.details, "texts_backward": texts}
        return Adapter(2 * target.r, 2 * target.alpha, state, details)


def subtract(target: Mapping[str, Tensor], opposite: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the adapter of twice the rank that does what one does, less what the other does.

    Args:
        target: An adapter's parameters by name; ``lora_A`` is ``[r, in]``, ``lora_B``
            ``[out, r]``.
        opposite: The other's, of the same shapes.
    """
    return {
        name: torch.cat([value, opposite[name]])
        if ".lora_A." in name
        else torch.cat([value, -opposite[name]], dim=1)
        for name, value in target.items()
    }


ARMS.add("weight-steering", WeightSteeringArm())
