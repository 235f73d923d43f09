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
from prosopon.judges import ClassifierJudge, degeneration
from prosopon.lm import answer_log_likelihoods, decode, fit_tokens, generate_tokens, opening_tokens

Written = tuple[list[int], list[int]]
"""The tokens of what was asked, and of what the model wrote."""


class FreeText:
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
    ) -> None:
        rows = [opening_tokens(prompt, tokenizer) for prompt in prompts]
        self._rows = fit_tokens(rows, tokenizer, max_length, length)
        self._model, self._tokenizer, self._judge = model, tokenizer, judge
        self._weight, self._texts, self._length = weight, texts, length
        self._seed, self._max_tokens = seed, max_tokens

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
        read = decode([tokens for _, tokens in written], self._tokenizer)
        said = self._judge.probabilities(read)
        fresh = [1 - degeneration([text]).repetition for text in read]
        advantages = torch.tensor(said) * torch.tensor(fresh)
        advantages -= advantages.mean()
        texts = [_encoded(*each) for each in written]
        total = sum(len(tokens) for _, tokens in written)
        for batch in length_buckets(texts, max_tokens=self._max_tokens, max_rows=64):
            sums = answer_log_likelihoods(self._model, batch)
            weights = advantages[batch.index].to(sums.device)
            yield -self._weight * (sums * weights).sum() / total

    def _write(self, number: int) -> list[Written]:
        order = random.Random(f"{self._seed}/free/{number}").sample(
            range(len(self._rows)), len(self._rows)
        )
        asked = [self._rows[order[i % len(order)]] for i in range(self._texts)]
        written = generate_tokens(
            self._model, self._tokenizer, asked,
            max_new_tokens=self._length, seed=1009 * number + self._seed,
        )  # fmt: skip
        return list(zip(asked, written, strict=True))


def _encoded(asked: list[int], written: list[int]) -> Encoded:
    answer = [False] * len(asked) + [True] * len(written)
    return Encoded(asked + written, answer, answer)
