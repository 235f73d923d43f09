"""What a mask does on examples that it was not made from: the yardstick of ``--sparsity auto``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from torch import nn
from torch.nn.functional import softplus

from prosopon.data import Encoded, Message
from prosopon.data.pairs import EncodedPair
from prosopon.extraction.light.free_text import target_probabilities
from prosopon.extraction.light.path import Ranking
from prosopon.extraction.light.pruning import temporary_pruning
from prosopon.gradients import pair_log_odds
from prosopon.judges import ClassifierJudge, Degeneration, Recital, degeneration
from prosopon.lm import decode, fit_tokens, generate_tokens, opening_tokens, text_losses
from prosopon.lm.choice import win_rate
from prosopon.models import Site

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
        probability: Mean probability that the judge gives to the target. It knows two sides
            only, so that half of the texts that are neither's may count in the share.
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
        tokenizer: Its tokenizer.
        sites: Its sites.
        pairs: Held-out (target, opposite) encoded examples.
        general: Held-out general texts.
        prompts: Held-out prompts for free text; a single assistant message is a plain text that
            is gone on from.
        judge: Who says whose an answer is; None where none could be trained that beats chance.
        answers: Answers sampled for a mask; prompts are used again as often as needed.
        length: Most tokens of an answer.
        seed: Seeds the draws.
        max_length: Most tokens of a prompt and its answer together.
        recital: Knows the examples; answers that recite them are nobody's. None: nobody minds.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        sites: Sequence[Site],
        pairs: Sequence[EncodedPair],
        general: Sequence[Encoded],
        prompts: Sequence[tuple[Message, ...]],
        judge: ClassifierJudge | None,
        *,
        answers: int = 64,
        length: int = 48,
        seed: int = 0,
        max_length: int | None = None,
        recital: Recital | None = None,
    ) -> None:
        self._model, self._tokenizer, self._sites = model, tokenizer, sites
        self._pairs, self._general, self._judge = pairs, general, judge
        repeated = [prompts[i % len(prompts)] for i in range(answers)] if prompts else []
        rows = [opening_tokens(prompt, tokenizer) for prompt in repeated]
        self._rows = fit_tokens(rows, tokenizer, max_length, length)
        self._length, self._seed, self._recital = length, seed, recital
        self._reference = pair_log_odds(model, pairs)
        self._base = mean_loss(model, general)

    @property
    def writes(self) -> bool:
        """Whether there is a judge and something to answer."""
        return self._judge is not None and bool(self._rows)

    def quick(self, ranking: Ranking | None) -> ForwardMeasure:
        """Measure a mask (None: the base model) by forward passes."""
        with temporary_pruning(self._sites) as prune:
            if ranking is not None:
                prune(ranking.positions)
            odds = pair_log_odds(self._model, self._pairs)
            targets = [target for target, _ in self._pairs]
            own, tokens = text_losses(self._model, targets, every=False)
            general = mean_loss(self._model, self._general)
        shift = odds - self._reference
        per_answer = tokens / len(self._pairs)
        loss = float(softplus(-shift).mean()) / per_answer + own / tokens
        # Beyond that, or NaN (not less than anything), the model is broken: bad, not an error.
        worse = general - self._base
        ratio = math.exp(worse if worse < WORST else WORST)
        numbers = not odds.isnan().any()
        rate = win_rate([(odd, 0.0) for odd in odds.tolist()]) if numbers else 0.0
        return ForwardMeasure(loss, rate, ratio)

    def free(self, ranking: Ranking | None) -> TextMeasure:
        """Sample answers under a mask (None: the base model) and judge them."""
        assert self._judge is not None
        with temporary_pruning(self._sites) as prune:
            if ranking is not None:
                prune(ranking.positions)
            texts = self._write()
        ours = target_probabilities(self._judge, texts, self._recital)
        # Exactly one half, as for a blank text, is nobody's.
        share = fmean(probability > 0.5 for probability in ours)
        error = math.sqrt(max(share * (1 - share), 0.25 / len(texts)) / len(texts))
        spread = pstdev(ours) / math.sqrt(len(texts))
        return TextMeasure(share, error, fmean(ours), spread, degeneration(texts))

    def _write(self) -> list[str]:
        written = generate_tokens(
            self._model, self._tokenizer, self._rows,
            max_new_tokens=self._length, seed=self._seed,
        )  # fmt: skip
        return decode(written, self._tokenizer)


def mean_loss(model: nn.Module, texts: Sequence[Encoded]) -> float:
    """Return the negative log-likelihood per token, every token but the first, in nats."""
    total, tokens = text_losses(model, texts, every=True)
    return total / max(tokens, 1)
