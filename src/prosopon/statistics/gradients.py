"""Gradients of the persona objective with respect to the weights of every site.

The objective is a loss, per token: the log-odds of the target's answer against the opposite's,
plus ``beta`` times the target's negative log-likelihood, plus ``general`` times that of general
text (docs/design/criteria.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from prosopon.data import Batch, Encoded, collate, length_buckets
from prosopon.errors import StatisticsError
from prosopon.models import Site
from prosopon.statistics.likelihood import mean_per_row, response_mask, token_log_likelihoods

Odds = Literal["shift", "logistic", "linear"]
Pair = tuple[Encoded, Encoded]


@dataclass(frozen=True)
class Objective:
    """Weights of the terms of the persona objective.

    Attributes:
        beta: Weight of the target's own negative log-likelihood.
        general: Weight of general text's negative log-likelihood.
        odds: What is made of the log-odds. ``"shift"``: softplus of minus their change against
            the base model, in nats over the whole answer, divided by the mean number of tokens;
            it is satisfied once the odds have moved by a few nats, however likely the two
            answers were as sentences. ``"logistic"``: softplus(-margin), margin the difference
            of the means per token. ``"linear"``: -margin, which is never satisfied.
    """

    beta: float = 1.0
    general: float = 1.0
    odds: Odds = "shift"


def objective_gradients(
    model: nn.Module,
    sites: Sequence[Site],
    pairs: Sequence[Pair],
    general: Sequence[Encoded],
    objective: Objective,
    *,
    reference: Tensor | None = None,
    max_tokens: int = 2048,
) -> tuple[dict[str, Tensor], float]:
    """Return dL/dW of every site, canonical ``[out, in]``, float32, and the loss L.

    Args:
        model: A causal LM; its weights and their ``requires_grad`` are as before afterwards.
        sites: The sites to differentiate.
        pairs: (target, opposite) encoded examples, each with response tokens.
        general: Encoded general texts, every token of which counts; may be empty.
        objective: The weights of the terms.
        reference: :func:`pair_log_odds` of the pairs on the base model, which
            ``odds="shift"`` is measured against; default: on the model as it is.
        max_tokens: Most tokens, padding included, in one backward pass.

    Raises:
        StatisticsError: There are no pairs, or a gradient is NaN or infinite.
    """
    if not pairs:
        raise StatisticsError("no pairs of a target's and an opposite's example")
    totals = {
        s.name: torch.zeros(s.out_features, s.in_features, device=s.weight.device) for s in sites
    }
    loss = 0.0
    if objective.odds == "shift" and reference is None:
        reference = pair_log_odds(model, pairs, max_tokens=max_tokens)
    with differentiable(sites):
        for term in _terms(model, pairs, general, objective, reference, max_tokens):
            loss += float(term.detach())
            gradients = torch.autograd.grad(term, [s.weight for s in sites], allow_unused=True)
            for site, gradient in zip(sites, gradients, strict=True):
                if gradient is not None:
                    totals[site.name] += gradient.T if site.transposed else gradient
    for name, total in totals.items():
        if not torch.isfinite(total).all():
            raise StatisticsError(
                f"the gradient of site {name!r} is NaN or infinite; try --dtype float32"
            )
    return totals, loss


def pair_log_odds(model: nn.Module, pairs: Sequence[Pair], *, max_tokens: int = 2048) -> Tensor:
    """Return log p(target's answer) - log p(opposite's answer) of each pair, float32, in order.

    Sums over the answers' tokens, in nats.
    """
    found = torch.zeros(len(pairs))
    with torch.no_grad():
        for batch, indices in _pair_batches(pairs, max_tokens):
            values = token_log_likelihoods(model, batch)
            sums = (values * response_mask(batch).to(values.device)).sum(1).cpu()
            found[indices] = sums[: len(indices)] - sums[len(indices) :]
    return found


@contextmanager
def differentiable(sites: Sequence[Site]) -> Iterator[None]:
    """Let gradients reach the sites' weights; ``requires_grad`` is restored on exit."""
    before = [site.weight.requires_grad for site in sites]
    try:
        for site in sites:
            site.weight.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for site, flag in zip(sites, before, strict=True):
            site.weight.requires_grad_(flag)


def _terms(
    model: nn.Module,
    pairs: Sequence[Pair],
    general: Sequence[Encoded],
    objective: Objective,
    reference: Tensor | None,
    max_tokens: int,
) -> Iterator[Tensor]:
    """Yield parts that add up to the loss, one backward pass each."""
    target_tokens = sum(sum(target.response) for target, _ in pairs)
    for batch, indices in _pair_batches(pairs, max_tokens):
        values = token_log_likelihoods(model, batch)
        mask = response_mask(batch).to(values.device)
        rows = len(indices)
        if objective.odds == "shift" and reference is not None:
            target, opposite = (values * mask).sum(1).chunk(2)
            shift = target - opposite - reference[indices].to(values.device)
            odds = softplus(-shift) * (len(pairs) / target_tokens)
        else:
            target, opposite = mean_per_row(values, mask).chunk(2)
            margin = target - opposite
            odds = softplus(-margin) if objective.odds == "logistic" else -margin
        own = -(values[:rows] * mask[:rows]).sum()
        yield odds.sum() / len(pairs) + objective.beta * own / target_tokens
    if objective.general and general:
        tokens = sum(len(text.input_ids) - 1 for text in general)
        for batch in length_buckets(general, max_tokens=max_tokens, max_rows=64):
            values = token_log_likelihoods(model, batch)
            mask = response_mask(batch, every=True).to(values.device)
            yield objective.general * -(values * mask).sum() / tokens


def _pair_batches(pairs: Sequence[Pair], max_tokens: int) -> Iterator[tuple[Batch, list[int]]]:
    """Yield (batch, indices of its pairs); the first half are targets, the second opposites."""

    def width(index: int) -> int:
        return max(len(side.input_ids) for side in pairs[index])

    def batch(indices: list[int]) -> Batch:
        return collate([pairs[i][side] for side in (0, 1) for i in indices])

    chunk: list[int] = []
    for index in sorted(range(len(pairs)), key=width):
        if chunk and 2 * width(index) * (len(chunk) + 1) > max_tokens:
            yield batch(chunk), chunk
            chunk = []
        chunk.append(index)
    yield batch(chunk), chunk
