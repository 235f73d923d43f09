"""The arm ``contrastive-lora``: LoRA on the objective of ``contrastive-kl``.

It answers whether a mask gains by being a mask or by what it is asked to do: the same pairs, the
same log-odds, the same divergence from the base on the same general text, another kind of change.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch

from prosopon.arms.adapter import adapted, fit
from prosopon.arms.base import ARMS, Lab
from prosopon.arms.lora import Adapter, LoraArm
from prosopon.arms.ready import counter
from prosopon.arms.steering import encode_sides
from prosopon.arms.weight_steering import WeightSteeringOptions
from prosopon.data.dropout import with_word_dropout
from prosopon.data.pairs import EncodedPair, pair_examples
from prosopon.gradients import Anchor, Material, Objective, objective_terms
from prosopon.options import option


@dataclass(frozen=True)
class ContrastiveLoraOptions(WeightSteeringOptions):
    """Options of ``contrastive-lora``; with 60 pairs it reads 360 texts, a mask 396 and more."""

    epochs: int = option(2, "times that every pair is read")
    batch: int = option(4, "pairs of a step, and as many general texts")
    lr: float = option(3e-3, "highest learning rate")
    target_weight: float = option(1.0, "as in contrastive-kl")
    kl_weight: float = option(3.0, "as in contrastive-kl")
    likelihood_power: float = option(0.3, "as in contrastive-kl")


class ContrastiveLoraArm(LoraArm):
    """An adapter that learns the log-odds of both sides' answers and to stay near the base."""

    name = "contrastive-lora"
    summary = "LoRA on contrastive-kl's objective: is it the mask, or what it is asked to do?"
    options = ContrastiveLoraOptions

    def read_shared(self, lab: Lab) -> None:
        """Read the general text."""
        lab.extractor.general()

    def train(self, lab: Lab, options: Any) -> Adapter:
        """Return the adapter that the pairs teach."""
        target, opposite = lab.contrast.drawn(lab.examples, lab.seed)
        examples = pair_examples(target.examples, opposite.examples)
        sides = encode_sides(lab, with_word_dropout(examples, options.word_dropout, lab.seed))
        pairs = list(zip(*sides, strict=True))
        steps = options.steps or options.epochs * ceil(len(pairs) / options.batch)
        backward = _backward(lab, pairs, options)
        shape = {"r": options.r, "alpha": options.alpha}
        with adapted(lab.model, **shape, seed=lab.seed, state=None) as values:
            training = fit(
                values, backward, count=len(pairs), steps=steps, batch=options.batch,
                rate=options.lr, seed=lab.seed,
                report=counter(lab, "training LoRA on both sides", steps),
            )  # fmt: skip
            general = steps * min(options.batch, len(lab.extractor.general()))
            return Adapter.of(values, options, training, 2 * training.examples + general)


def _backward(
    lab: Lab, pairs: list[EncodedPair], options: ContrastiveLoraOptions
) -> Callable[[list[int]], float]:
    """Return what adds the gradient of some pairs' objective and returns the loss."""
    limit = lab.extractor.max_tokens
    objective = Objective(
        options.target_weight, 0.0, "logistic", 0.0, likelihood_power=options.likelihood_power
    )
    anchor = Anchor(lab.model, lab.extractor.general(), max_tokens=limit)
    draw = random.Random(f"{lab.seed}/general")

    def backward(indices: list[int]) -> float:
        material = Material([pairs[i] for i in indices], torch.zeros(len(indices)))
        texts, loss = len(anchor.texts), 0.0
        part = draw.sample(range(texts), min(options.batch, texts))
        for terms in (
            objective_terms(lab.model, material, objective, max_tokens=limit, share_prompts=True),
            anchor.terms(lab.model, options.kl_weight, part),
        ):
            for term in terms:
                term.backward()  # type: ignore[no-untyped-call]
                loss += float(term.detach())
        return loss

    return backward


ARMS.add("contrastive-lora", ContrastiveLoraArm())
