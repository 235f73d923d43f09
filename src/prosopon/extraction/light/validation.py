"""What a mask does on examples that it was not made from: the yardstick of ``--sparsity auto``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

import torch

from prosopon import ranks
from prosopon.data import Encoded
from prosopon.data.pairs import EncodedPair
from prosopon.extraction.light.free_text import JudgedWriter
from prosopon.extraction.light.path import Ranking
from prosopon.extraction.light.pruning import temporary_pruning
from prosopon.gradients import pair_log_odds
from prosopon.judges import Degeneration, degeneration
from prosopon.lm import text_losses
from prosopon.lm.choice import win_rate
from prosopon.models import Site

if TYPE_CHECKING:
    from torch import nn

WORST = 700.0  # nats a token; exp(700) still fits a float


@dataclass(frozen=True)
class ForwardMeasure:
    """What forward passes alone say of a mask.

    Attributes:
        loss: softplus(-shift) per token plus the target's negative log-likelihood, nats per
            token, on held-out pairs. Lower is more of the persona.
        choice: Share of held-out pairs in which the target's answer is likelier, in sum; a tie
            is half of one.
        perplexity_ratio: Perplexity of held-out general text over the base model's.
    """

    loss: float
    choice: float
    perplexity_ratio: float


@dataclass(frozen=True)
class TextMeasure:
    """What free text says of a mask.

    Attributes:
        share: Share of sampled answers that the judge gives to the target.
        error: Its standard error.
        probability: Mean probability that the judge gives to the target, 0 where a text is no
            language or a recital.
        probability_error: Its standard error.
        signs: Signs of degeneration.
    """

    share: float
    error: float
    probability: float
    probability_error: float
    signs: Degeneration


class Validation:
    """Measures masks on held-out material.

    Args:
        model: A causal LM; its weights are as before after every call.
        sites: Its sites.
        pairs: Held-out (target, opposite) encoded examples.
        general: Held-out general texts.
        writer: Writes free text and judges it; None where nobody can that beats chance.
        answers: Answers sampled for a mask; prompts are used again as often as needed.
        seed: Seeds the draws.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: Sequence[Site],
        pairs: Sequence[EncodedPair],
        general: Sequence[Encoded],
        writer: JudgedWriter | None,
        *,
        answers: int = 64,
        seed: int = 0,
    ) -> None:
        self._model, self._sites, self._pairs, self._general = model, sites, pairs, general
        self.writer, self._answers, self._seed = writer, answers, seed
        self._reference = pair_log_odds(model, pairs)
        self._base = mean_loss(model, general)

    def quick(self, ranking: Ranking | None) -> ForwardMeasure:
        """Measure a mask (None: the base model) by forward passes."""
        with self._wearing(ranking):
            odds = pair_log_odds(self._model, self._pairs)
            targets = [target for target, _ in self._pairs]
            own, tokens = text_losses(self._model, targets, every=False, shared=True)
            general = mean_loss(self._model, self._general)
        shift = odds - self._reference
        per_answer = tokens / len(self._pairs)
        loss = float(torch.nn.functional.softplus(-shift).mean()) / per_answer + own / tokens
        # Beyond that, or NaN (not less than anything), the model is broken: bad, not an error.
        worse = general - self._base
        ratio = math.exp(worse if worse < WORST else WORST)
        numbers = not odds.isnan().any()
        rate = win_rate([(odd, 0.0) for odd in odds.tolist()]) if numbers else 0.0
        return ForwardMeasure(loss, rate, ratio)

    def free(self, writer: JudgedWriter, ranking: Ranking | None) -> TextMeasure:
        """Sample answers under a mask (None: the base model) and judge them."""
        return ranks.agree(lambda: self._free(writer, ranking))

    def _free(self, writer: JudgedWriter, ranking: Ranking | None) -> TextMeasure:
        rows = [writer.rows[i % len(writer.rows)] for i in range(self._answers)]
        with self._wearing(ranking):
            texts = writer.decode(writer.write(rows, self._seed))
        prompts = [writer.prompt_of(row) for row in rows]
        ours = writer.probabilities(texts, prompts)
        share = fmean(verdict == "target" for verdict in writer.verdicts(texts, prompts))
        error = math.sqrt(max(share * (1 - share), 0.25 / len(texts)) / len(texts))
        spread = pstdev(ours) / math.sqrt(len(texts))
        return TextMeasure(share, error, fmean(ours), spread, degeneration(texts))

    @contextmanager
    def _wearing(self, ranking: Ranking | None) -> Iterator[None]:
        with temporary_pruning(self._sites) as prune:
            prune(ranking.positions if ranking is not None else {})
            yield


def mean_loss(model: nn.Module, texts: Sequence[Encoded]) -> float:
    """Return the negative log-likelihood per token, every token but the first, in nats."""
    total, tokens = text_losses(model, texts, every=True, shared=True)
    return total / max(tokens, 1)
