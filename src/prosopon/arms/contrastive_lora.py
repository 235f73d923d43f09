"""The arm ``contrastive-lora``: LoRA on the objective of ``contrastive-kl``.

It answers whether a mask gains by being a mask or by what it is asked to do: the same pairs, the
same log-odds, the same divergence from the base on the same general text, another kind of change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch

from prosopon.arms.adapter import Parameters, adapted, fit
from prosopon.arms.base import ARMS, Cost, Lab
from prosopon.arms.dose import largest_scale
from prosopon.arms.lora import LoraArm
from prosopon.arms.ready import Clock, Ready, counter, speaker_of
from prosopon.arms.weight_steering import WeightSteeringOptions
from prosopon.data import encode_all
from prosopon.data.pairs import EncodedPair, pair_examples
from prosopon.errors import OptionError
from prosopon.evaluation.speaking import Speaker
from prosopon.gradients import Anchor, Material, Objective, objective_terms
from prosopon.options import option


@dataclass(frozen=True)
class ContrastiveLoraOptions(WeightSteeringOptions):
    """Options of ``contrastive-lora``."""

    epochs: int = option(10, "times that every pair is read")
    batch: int = option(16, "pairs of a step; general text is read whole in every step")
    target_weight: float = option(1.0, "as in contrastive-kl")
    kl_weight: float = option(3.0, "as in contrastive-kl")


class ContrastiveLoraArm(LoraArm):
    """An adapter that learns the log-odds of both sides' answers and to stay near the base."""

    name = "contrastive-lora"
    summary = "LoRA on contrastive-kl's objective: is it the mask, or what it is asked to do?"
    options = ContrastiveLoraOptions

    def prepare(self, lab: Lab) -> Ready:
        """Learn the contrast from the calibration examples.

        Raises:
            DataError: There are fewer calibration examples than asked for.
            OptionError: A bad option, or peft is missing.
            ModelError: The training diverges.
        """
        parsed: ContrastiveLoraOptions = self.parse(lab.options)
        if reason := self.refuses(lab):
            raise OptionError(reason)
        anchor = Anchor(lab.model, lab.extractor.general(), max_tokens=lab.extractor.max_tokens)
        clock, shape = Clock(), {"r": parsed.r, "alpha": parsed.alpha}
        pairs = _pairs(lab)
        steps = parsed.steps or parsed.epochs * ceil(len(pairs) / parsed.batch)
        with adapted(lab.model, **_shape(parsed), seed=lab.seed, state=None) as parameters:
            losses = fit(
                parameters, _backward(lab, pairs, anchor, parsed), count=len(pairs), steps=steps,
                batch=parsed.batch, rate=parsed.lr, seed=lab.seed,
                report=counter(lab, "training LoRA on both sides", steps),
            )  # fmt: skip
            state = {name: p.detach().clone() for name, p in parameters.items()}

        @contextmanager
        def wear(scale: float) -> Iterator[Parameters]:
            scaled = {n: scale * v if ".lora_B." in n else v for n, v in state.items()}
            with adapted(lab.model, **_shape(parsed), state=scaled) as worn:
                for parameter in worn.values():
                    parameter.requires_grad_(False)
                yield worn

        details: dict[str, Any] = {"scale": parsed.scale, "last_loss": losses[-1]}
        if parsed.max_loss:
            scale, rise = largest_scale(lab, wear, parsed.max_loss)
            details |= {"scale": scale, "general_loss": rise}
        seconds = clock.seconds()

        @contextmanager
        def enter() -> Iterator[Speaker]:
            with wear(details["scale"]):
                yield speaker_of(lab)

        size = sum(value.numel() * value.element_size() for value in state.values())
        return Ready(Cost(seconds, size, shape | {"steps": steps} | details), enter)


def _shape(options: ContrastiveLoraOptions) -> dict[str, Any]:
    return {"r": options.r, "alpha": options.alpha}


def _pairs(lab: Lab) -> list[EncodedPair]:
    target, opposite = lab.contrast.drawn(lab.examples, lab.seed)
    pairs = pair_examples(target.examples, opposite.examples)
    limit = lab.extractor.max_length
    ours, theirs = (
        encode_all([pair[side] for pair in pairs], lab.tokenizer, max_length=limit)
        for side in (0, 1)
    )
    return list(zip(ours, theirs, strict=True))


def _backward(
    lab: Lab, pairs: list[EncodedPair], anchor: Anchor, options: ContrastiveLoraOptions
) -> Any:
    """Return what adds the gradient of some pairs' objective and returns the loss."""
    objective = Objective(options.target_weight, 0.0, "logistic", 0.0)
    limit = lab.extractor.max_tokens

    def backward(indices: list[int]) -> float:
        material = Material([pairs[i] for i in indices], torch.zeros(len(indices)))
        loss = 0.0
        for terms in (
            objective_terms(lab.model, material, objective, max_tokens=limit),
            anchor.terms(lab.model, options.kl_weight),
        ):
            for term in terms:
                term.backward()  # type: ignore[no-untyped-call]
                loss += float(term.detach())
        return loss

    return backward


ARMS.add("contrastive-lora", ContrastiveLoraArm())
