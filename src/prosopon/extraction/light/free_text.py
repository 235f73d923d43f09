"""Free text under the mask of the moment, and which way its gradient would move it.

Pairs of answers say what the persona says where it was written down. What it should say elsewhere
only the model's own text shows: every round samples some, a judge says whose each is, and the
gradient of the expected verdict (REINFORCE, Williams 1992) joins those of the other terms.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prosopon.data import Encoded, Message, length_buckets
from prosopon.judges import ClassifierJudge, Recital, degeneration
from prosopon.lm import answer_log_likelihoods, decode, fit_tokens, generate_tokens, opening_tokens

Written = tuple[list[int], list[int]]
"""The tokens of a prompt, and of what the model wrote."""


class FreeTextTerms:
    """Writes free text and gives the terms whose gradient makes the persona's likelier.

    Args:
        model: A causal LM.
        tokenizer: Its tokenizer.
        prompts: What is answered, or (one assistant's turn) gone on from.
        judge: Says how likely a text is the target's.
        weight: Weight of the term in the objective.
        texts: Texts of a round.
        length: Most tokens of a text.
        seed: Seeds the draws.
        max_length: Most tokens of a prompt and its text together.
        max_tokens: Most tokens, padding included, in one backward pass.
        recital: Knows the examples; texts that recite them are nobody's. None: nobody minds.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        prompts: Sequence[Sequence[Message]],
        judge: ClassifierJudge,
        *,
        weight: float,
        texts: int = 128,
        length: int = 48,
        seed: int = 0,
        max_length: int | None = None,
        max_tokens: int = 2048,
        recital: Recital | None = None,
    ) -> None:
        rows = [opening_tokens(prompt, tokenizer) for prompt in prompts]
        self._rows = fit_tokens(rows, tokenizer, max_length, length)
        self._model, self._tokenizer, self._judge = model, tokenizer, judge
        self._weight, self._texts, self._length = weight, texts, length
        self._seed, self._max_tokens, self.recital = seed, max_tokens, recital

    def terms(self, number: int) -> Iterator[Tensor]:
        """Write a round's texts with the model as it is and yield differentiable scalars.

        They add up to ``-weight * sum(advantage * log p(text)) / tokens``; a text's advantage is
        the judge's probability that it is the target's, times the share of its 3-grams that are
        no repetition, less the round's mean: where the judge is content with every text, nothing
        is gained, and saying the same again gains nothing. The texts are written when the first
        scalar is asked for.

        Args:
            number: The round; it gives other draws.
        """
        written = self._write(number)
        answers = decode([tokens for _, tokens in written], self._tokenizer)
        ours = target_probabilities(self._judge, answers, self.recital)
        fresh = [1 - degeneration([text]).repetition for text in answers]
        advantages = torch.tensor(ours) * torch.tensor(fresh)
        advantages -= advantages.mean()
        texts = [_encode(*row) for row in written]
        total = sum(len(tokens) for _, tokens in written)
        for batch in length_buckets(texts, max_tokens=self._max_tokens, max_rows=64):
            sums = answer_log_likelihoods(self._model, batch)
            weights = advantages[batch.index].to(sums.device)
            yield -self._weight * (sums * weights).sum() / total

    def _write(self, number: int) -> list[Written]:
        order = random.Random(f"{self._seed}/free/{number}").sample(
            range(len(self._rows)), len(self._rows)
        )
        prompts = [self._rows[order[i % len(order)]] for i in range(self._texts)]
        written = generate_tokens(
            self._model, self._tokenizer, prompts,
            max_new_tokens=self._length, seed=1009 * number + self._seed,
        )  # fmt: skip
        return list(zip(prompts, written, strict=True))


def _encode(prompt: list[int], written: list[int]) -> Encoded:
    answer = [False] * len(prompt) + [True] * len(written)
    return Encoded(prompt + written, answer, answer)


def target_probabilities(
    judge: ClassifierJudge, answers: Sequence[str], recital: Recital | None
) -> list[float]:
    """Return the probability that each answer is the target's; 0 where it recites an example."""
    probabilities = judge.probabilities(answers)
    if recital is None:
        return probabilities
    return [
        0.0 if recital.recites(text) else p for p, text in zip(probabilities, answers, strict=True)
    ]
