"""What an approximation costs: how far its next-token distributions are from the persona's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from prosopon.data import Message
from prosopon.export.base import Job
from prosopon.export.checkpoint import logits
from prosopon.lm import opening_tokens
from prosopon.models import Site

if TYPE_CHECKING:
    from torch import Tensor, nn


PROMPTS = (
    "What do you like to do on a free evening?",
    "Tell me about a difficult decision you had to make.",
    "How should a team settle a disagreement?",
    "Describe a good day.",
    "What matters more to you, a plan or a surprise?",
    "Explain why the sky is blue.",
)
"""What the distributions are compared on."""

Factors = Mapping[str, "tuple[Tensor, Tensor]"]
"""(B [out, rank], A [rank, in]) of every site that changes."""


def divergence(job: Job, factors: Factors) -> dict[str, Any]:
    """Compare next-token distributions on the prompts: persona against adapter and base."""
    if job.tokenizer is None:
        return {"divergence": None}
    turns = [opening_tokens([Message("user", prompt)], job.tokenizer) for prompt in PROMPTS]
    rows = [torch.tensor([turn]) for turn in turns]
    base = [logits(job.model, row)[0] for row in rows]
    with add_factors(job.wearer.sites, factors):
        adapter = [logits(job.model, row)[0] for row in rows]
    with job.wearer.persona(job.persona):
        persona = [logits(job.model, row)[0] for row in rows]
    distances = {
        name: mean_divergence(persona, other)
        for name, other in (("adapter", adapter), ("base", base))
    }
    return {"divergence": distances | {"tokens": sum(map(len, persona)), "prompts": len(rows)}}


def mean_divergence(persona: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Return KL(persona || other), nats a token, of the logits [length, vocabulary] of prompts."""
    sums, count = 0.0, 0
    for ours, theirs in zip(persona, other, strict=True):
        log_p, log_q = ours.double().log_softmax(-1), theirs.double().log_softmax(-1)
        sums += float((log_p.exp() * (log_p - log_q)).sum())
        count += len(ours)
    return max(sums / count, 0.0)


@contextmanager
def add_factors(sites: Sequence[Site], factors: Factors) -> Iterator[None]:
    """Let sites add ``B A x`` to what they compute, as a LoRA adapter does; writes no weight."""
    hooks = [
        site.module.register_forward_hook(_adder(*factors[site.name]))
        for site in sites
        if site.name in factors
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _adder(tall: Tensor, wide: Tensor) -> Any:
    def add(module: nn.Module, inputs: tuple[Tensor, ...], result: Tensor) -> Tensor:
        change = (inputs[0].float() @ wide.float().T) @ tall.float().T
        return result + change.to(result.dtype)

    return add
