"""The persona objective: a loss per token, small where the model speaks as the target.

The log-odds of the target's answer against the opposite's, plus ``target_weight`` times the
target's negative log-likelihood, plus ``general_weight`` times that of general text, plus
``protect_weight`` times how far the log-odds of protected contrasts have moved
(docs/design/criteria.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch

from prosopon import ranks
from prosopon.data import Batch, Encoded, EncodedPair, collate, length_buckets
from prosopon.data.batching import chunk_by_length
from prosopon.errors import StatisticsError
from prosopon.lm.likelihood import mean_per_row, token_log_likelihoods
from prosopon.lm.pairs import pair_log_likelihoods, pair_width
from prosopon.lm.reading import response_mask

if TYPE_CHECKING:
    from torch import Tensor, nn

LogOdds = Literal["shift", "logistic", "linear"]


@dataclass(frozen=True)
class Objective:
    """Weights of the terms of the persona objective."""

    target_weight: float = 1.0  # weight of the target's own negative log-likelihood
    general_weight: float = 1.0  # weight of general text's negative log-likelihood
    # what is made of the log-odds. ``"shift"``: softplus of minus their change against the base
    # model, in nats over the whole answer, divided by the mean number of tokens; it is satisfied
    # once the odds have moved by a few nats, however likely the two answers were as sentences.
    # ``"logistic"``: softplus(-margin), margin the difference of the means per token. ``"linear"``:
    # -margin, which is never satisfied
    log_odds: LogOdds = "shift"
    protect_weight: float = 3.0  # weight of the change of protected contrasts' log-odds
    log_odds_weight: float = 1.0  # weight of the log-odds term
    # q: of a token with probability p counts (p^q - 1) / q instead of log p, its limit at 0
    # (generalised cross-entropy, arXiv 1805.07836, eq. 5). A token that the model would hardly
    # ever say teaches little then, so a persona is learned in words that the model would use
    likelihood_power: float = 0.0


@dataclass(frozen=True)
class Material:
    """What the objective is computed on."""

    pairs: Sequence[EncodedPair]  # (target, opposite) encoded examples, each with response tokens
    # :func:`pair_log_odds` of ``pairs`` on the base model, [pairs]; only "shift" reads it
    reference: Tensor
    # encoded general texts, every token of which counts; may be empty
    general: Sequence[Encoded] = ()
    # pairs of contrasts that must stay as they are; may be empty
    protected: Sequence[EncodedPair] = ()
    # their :func:`pair_log_odds` on the base model
    protected_reference: Tensor = field(default_factory=lambda: torch.zeros(0))

    def __post_init__(self) -> None:
        if not self.pairs:
            raise StatisticsError("no pairs of a target's and an opposite's example")

    def part(
        self, pairs: Sequence[int], general: Sequence[int], protected: Sequence[int]
    ) -> Material:
        """Return the material with these indices only."""
        return Material(
            [self.pairs[i] for i in pairs],
            self.reference[list(pairs)],
            [self.general[i] for i in general],
            [self.protected[i] for i in protected],
            self.protected_reference[list(protected)],
        )


def pair_log_odds(
    model: nn.Module, pairs: Sequence[EncodedPair], *, max_tokens: int = 2048
) -> Tensor:
    """Return log p(target's answer) - log p(opposite's answer) of each pair, float32, in order.

    Sums over the answers' tokens, in nats.
    """
    odds = torch.zeros(len(pairs))
    with torch.no_grad():
        for values, mask, indices in _answers(model, pairs, max_tokens):
            sums = (values * mask).sum(1).cpu()
            odds[indices] = sums[: len(indices)] - sums[len(indices) :]
    ranks.add_up(odds)
    return odds


def objective_terms(
    model: nn.Module,
    material: Material,
    objective: Objective,
    *,
    max_tokens: int = 2048,
    share_prompts: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Tensor]:
    """Yield scalars that add up to the loss, differentiable one after the other.

    Under torchrun they add up to it over all ranks; every one reads its share.

    Args:
        model: A causal LM.
        material: What the loss is computed on.
        objective: The weights of the terms.
        max_tokens: Most tokens, padding included, in one forward pass.
        share_prompts: Read a prompt that a pair shares once; the same but for rounding.
        progress: Called with the number of pairs done since the last call.
    """
    pairs, count = material.pairs, len(material.pairs)
    tokens = sum(sum(target.response) for target, _ in pairs)
    read = _shared_answers if share_prompts else _answers
    for values, mask, indices in read(model, pairs, max_tokens):
        values = raise_likelihoods(values, objective.likelihood_power)
        sums, rows = (values * mask).sum(1), len(indices)
        if objective.log_odds == "shift":
            shift = _shift(sums, material.reference, indices)
            odds = torch.nn.functional.softplus(-shift) * (count / tokens)
        else:
            target, opposite = mean_per_row(values, mask).chunk(2)
            margin = target - opposite
            odds = (
                torch.nn.functional.softplus(-margin)
                if objective.log_odds == "logistic"
                else -margin
            )
        odds_term = objective.log_odds_weight * (odds.sum() / count)
        yield odds_term - objective.target_weight * sums[:rows].sum() / tokens
        if progress is not None:
            progress(rows)
    if objective.general_weight and material.general:
        length = sum(sum(text.scope[1:]) for text in material.general)
        for batch in length_buckets(
            material.general, max_tokens=max_tokens, max_rows=64, shared=True
        ):
            values = token_log_likelihoods(model, batch)
            mask = response_mask(batch, every=True).to(values.device)
            yield objective.general_weight * -(values * mask).sum() / length
    if objective.protect_weight and material.protected:
        tokens = sum(sum(target.response) for target, _ in material.protected)
        for values, mask, indices in _answers(model, material.protected, max_tokens):
            shift = _shift((values * mask).sum(1), material.protected_reference, indices)
            # Quadratic near zero, linear far off: no single pair can outvote the persona.
            yield objective.protect_weight * ((1 + shift.square()).sqrt() - 1).sum() / tokens


def raise_likelihoods(values: Tensor, power: float) -> Tensor:
    """Return (p^q - 1) / q of log-likelihoods log p; themselves for a power q of 0.

    Args:
        values: log p of tokens, any shape; 0 stays 0.
        power: q, not negative.
    """
    return torch.expm1(power * values) / power if power else values


def pair_batches(
    pairs: Sequence[EncodedPair], max_tokens: int = 2048
) -> Iterator[tuple[Batch, list[int]]]:
    """Yield (this rank's batch, indices of its pairs); first the targets, then the opposites."""
    widths = [2 * max(len(side.input_ids) for side in pair) for pair in pairs]
    for chunk in chunk_by_length(widths, max_tokens, max(1, len(pairs)), shared=True):
        yield collate([pairs[i][side] for side in (0, 1) for i in chunk]), chunk


def _answers(
    model: nn.Module, pairs: Sequence[EncodedPair], max_tokens: int
) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Yield the tokens' log-likelihoods, which of them are answers', and whose pairs they are."""
    for batch, indices in pair_batches(pairs, max_tokens):
        values = token_log_likelihoods(model, batch)
        yield values, response_mask(batch).to(values.device), indices


def _shared_answers(
    model: nn.Module, pairs: Sequence[EncodedPair], max_tokens: int
) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    widths = list(map(pair_width, pairs))
    for chunk in chunk_by_length(widths, max_tokens, max(1, len(pairs)), shared=True):
        yield *pair_log_likelihoods(model, [pairs[i] for i in chunk]), chunk


def _shift(sums: Tensor, reference: Tensor, indices: list[int]) -> Tensor:
    target, opposite = sums.chunk(2)
    return target - opposite - reference[indices].to(sums.device)
