"""The arm ``weight-steering``: what learning the target changes, less what the opposite changes.

Contrastive weight arithmetic (Fierro and Roger 2025, arXiv 2511.05408): one LoRA is trained on
the target's answers and one on the opposite's; their difference, scaled, is added to the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import torch

from prosopon.arms.adapter import adapted, train
from prosopon.arms.base import ARMS, Cost, Lab
from prosopon.arms.dose import largest_scale
from prosopon.arms.lora import LoraArm, LoraArmOptions
from prosopon.arms.ready import Clock, Ready, counter, speaker_of
from prosopon.data import Persona
from prosopon.errors import OptionError
from prosopon.evaluation.speaking import Speaker
from prosopon.options import option, require

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class WeightSteeringOptions(LoraArmOptions):
    """Options of ``weight-steering``: those of ``lora``, and how strong it is."""

    word_dropout: float = option(0.0, "as in lora; 0: no copies")
    max_loss: float = option(
        0.05,
        "nats a token that held-out general text may lose: the largest scale within it is taken; "
        "0: scale stands",
    )
    scale: float = option(1.0, "times that the difference is added, where max_loss is 0")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.max_loss >= 0, f"option max_loss={self.max_loss}: must not be negative")


class WeightSteeringArm(LoraArm):
    """The difference of two adapters on every Linear layer, one of each side."""

    name = "weight-steering"
    summary = "LoRA on the target less LoRA on the opposite, as strong as general text bears"
    options = WeightSteeringOptions

    def prepare(self, lab: Lab) -> Ready:
        """Learn both sides from the calibration examples.

        Raises:
            DataError: There are fewer calibration examples than asked for.
            OptionError: A bad option, or peft is missing.
            ModelError: The training diverges.
        """
        parsed: WeightSteeringOptions = self.parse(lab.options)
        if reason := self.refuses(lab):
            raise OptionError(reason)
        clock = Clock()
        drawn = lab.contrast.drawn(lab.examples, lab.seed)
        target, opposite = (_learn(lab, side, parsed) for side in drawn)
        shape: dict[str, Any] = {"r": 2 * parsed.r, "alpha": 2 * parsed.alpha}

        @contextmanager
        def wear(scale: float) -> Iterator[None]:
            with adapted(lab.model, **shape, state=subtract(target, opposite, scale)) as worn:
                for parameter in worn.values():
                    parameter.requires_grad_(False)
                yield

        details: dict[str, object] = {"scale": parsed.scale}
        if parsed.max_loss:
            scale, rise = largest_scale(lab, wear, parsed.max_loss)
            details = {"scale": scale, "general_loss": rise}
        seconds = clock.seconds()

        @contextmanager
        def enter() -> Iterator[Speaker]:
            with wear(float(str(details["scale"]))):
                yield speaker_of(lab)

        size = 2 * sum(value.numel() * value.element_size() for value in target.values())
        return Ready(Cost(seconds, size, shape | details), enter)


def subtract(target: State, opposite: State, scale: float) -> dict[str, Tensor]:
    """Return the adapter of twice the rank that does ``scale * (target - opposite)``.

    Args:
        target: An adapter's parameters by name; ``lora_A`` is ``[r, in]``, ``lora_B``
            ``[out, r]``.
        opposite: The other's, of the same shapes.
        scale: How many times the difference is added.
    """
    joint: dict[str, Tensor] = {}
    for name, value in target.items():
        other = opposite[name]
        joint[name] = (
            torch.cat([value, other])
            if ".lora_A." in name
            else scale * torch.cat([value, -other], dim=1)
        )
    return joint


def _learn(lab: Lab, persona: Persona, options: WeightSteeringOptions) -> State:
    texts = lab.extractor.encode(persona, "response")
    steps = options.steps or options.epochs * ceil(len(texts) / options.batch)
    with adapted(
        lab.model, r=options.r, alpha=options.alpha, seed=lab.seed, state=None
    ) as parameters:
        train(
            lab.model, parameters, texts, steps=steps, batch=options.batch, rate=options.lr,
            seed=lab.seed, max_tokens=lab.extractor.max_tokens,
            report=counter(lab, f"training LoRA on {persona.name}", steps),
        )  # fmt: skip
        return {name: p.detach().clone() for name, p in parameters.items()}


ARMS.add("weight-steering", WeightSteeringArm())
