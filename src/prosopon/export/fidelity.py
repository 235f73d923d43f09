"""What an approximation costs: how far its next-token distributions are from the persona's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from prosopon.data import Message
from prosopon.export.plain_checkpoint import logits
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
"""What the distributions are compared on unless prompts are given."""

Factors = Mapping[str, "tuple[Tensor, Tensor]"]
"""(B [out, rank], A [rank, in]) of every site that changes."""


def prompt_tokens(prompts: Sequence[str], tokenizer: Any) -> list[Tensor]:
    """Return the ids of every prompt, int64 [1, length], rendered as the model expects a turn."""
    rows = (opening_tokens([Message("user", prompt)], tokenizer) for prompt in prompts)
    return [torch.tensor([row]) for row in rows]


def all_logits(model: Any, rows: Sequence[Tensor]) -> list[Tensor]:
    """Return the logits after every token of every prompt, float32 [length, vocabulary]."""
    return [logits(model, row)[0] for row in rows]


def mean_divergence(persona: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Return KL(persona || other) in nats, averaged over all tokens of all prompts.

    Args:
        persona: Logits, [length, vocabulary] of every prompt.
        other: The same of the approximation.
    """
    sums, count = 0.0, 0
    for ours, theirs in zip(persona, other, strict=True):
        log_p, log_q = ours.double().log_softmax(-1), theirs.double().log_softmax(-1)
        sums += float((log_p.exp() * (log_p - log_q)).sum())
        count += len(ours)
    return max(sums / count, 0.0)


@contextmanager
def add_factors(sites: Sequence[Site], factors: Factors) -> Iterator[None]:
    """Let sites add ``B A x`` to what they compute, as a LoRA adapter does; writes no weight."""
    with ExitStack() as stack:
        for site in sites:
            if site.name in factors:
                hook = _adder(*factors[site.name])
                handle = site.module.register_forward_hook(hook)
                stack.callback(handle.remove)
        yield


def _adder(tall: Tensor, wide: Tensor) -> Any:
    def add(module: nn.Module, inputs: tuple[Tensor, ...], result: Tensor) -> Tensor:
        change = (inputs[0].float() @ wide.float().T) @ tall.float().T
        return result + change.to(result.dtype)

    return add
