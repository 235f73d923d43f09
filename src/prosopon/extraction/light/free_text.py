"""Free text under the mask of the moment, and which way its gradient would move it.

Pairs of answers say what the persona says where it was written down. What it should say elsewhere
only the model's own text shows: every round samples some, a judge says whose each is, and the
gradient of the expected verdict (REINFORCE, Williams 1992) joins those of the other terms.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from prosopon import ranks
from prosopon.data import Encoded, Message, length_buckets
from prosopon.data.questions import prompt_text
from prosopon.judges import ClassifierJudge, Recital, Verdict, degeneration
from prosopon.lm import answer_log_likelihoods, decode, fit_tokens, generate_tokens, opening_tokens

if TYPE_CHECKING:
    from torch import Tensor, nn


Written = tuple[list[int], list[int]]
"""The tokens of a prompt, and those of what was written after it."""


class JudgedWriter:
    """Writes free text and says how likely each text is the target's.

    Args:
        model: A causal LM.
        tokenizer: Its tokenizer.
        prompts: What is answered, or (one assistant's turn) gone on from.
        judge: Says how likely a text is the target's.
        length: Most tokens of a text.
        max_length: Most tokens of a prompt and its text together.
        recital: Knows the examples; texts that recite them are nobody's. None: nobody minds.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        prompts: Sequence[Sequence[Message]],
        judge: ClassifierJudge,
        *,
        length: int = 48,
        max_length: int | None = None,
        recital: Recital | None = None,
    ) -> None:
        rows = [opening_tokens(prompt, tokenizer) for prompt in prompts]
        self.rows = fit_tokens(rows, tokenizer, max_length, length)
        self._texts_of_rows = dict(
            zip(map(tuple, self.rows), map(prompt_text, prompts), strict=True)
        )
        self.model, self._tokenizer, self._length = model, tokenizer, length
        self._judge, self.recital = judge, recital

    def write(self, rows: list[list[int]], seed: int) -> list[list[int]]:
        """Return the tokens that the model as it is writes after each of some of the rows."""
        return generate_tokens(
            self.model, self._tokenizer, rows, max_new_tokens=self._length, seed=seed
        )

    def decode(self, written: Sequence[Sequence[int]]) -> list[str]:
        """Return tokens as texts."""
        return decode(written, self._tokenizer)

    def prompt_of(self, row: Sequence[int]) -> str:
        """Return a row of :attr:`rows` as text; any other is an empty one."""
        return self._texts_of_rows.get(tuple(row), "")

    def probabilities(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[float]:
        """Return the probability that each text is the target's; 0 where it is nobody's.

        That is a text that recites an example, and one that is no language. The base model reads:
        call it when nothing is pruned.
        """
        ours = zip(
            texts, self._judge.probabilities(texts), self._judge.reads(texts, prompts), strict=True
        )
        return [0.0 if not reads or self._recites(text) else p for text, p, reads in ours]

    def verdicts(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[Verdict]:
        """Return whose each text is, likewise."""
        verdicts = zip(texts, self._judge.verdicts(texts, prompts), strict=True)
        return ["neither" if self._recites(text) else verdict for text, verdict in verdicts]

    def _recites(self, text: str) -> bool:
        return self.recital is not None and self.recital.recites(text)


class FreeTextTerms:
    """Gives the terms whose gradient makes free text of the persona's likelier.

    Args:
        writer: Writes the texts and judges them.
        weight: Weight of the term in the objective.
        texts: Texts of a round.
        seed: Seeds the draws.
        max_tokens: Most tokens, padding included, in one backward pass.
    """

    def __init__(
        self,
        writer: JudgedWriter,
        *,
        weight: float,
        texts: int = 128,
        seed: int = 0,
        max_tokens: int = 2048,
    ) -> None:
        self._writer, self._weight, self._texts = writer, weight, texts
        self._seed, self._max_tokens = seed, max_tokens

    def weigh(self, written: Sequence[Written]) -> Tensor:
        """Return the advantage of each text, float32; call it when nothing is pruned.

        It is the judge's probability that the text is the target's (0 where it is no language),
        times the share of its 3-grams that are no repetition, less the round's mean: where the
        judge is content with every text, nothing is gained, and saying the same again gains
        nothing.
        """
        answers = self._writer.decode([tokens for _, tokens in written])
        prompts = [self._writer.prompt_of(row) for row, _ in written]
        ours = ranks.agree(lambda: self._writer.probabilities(answers, prompts))
        fresh = [1 - degeneration([text]).repetition for text in answers]
        advantages = torch.tensor(ours) * torch.tensor(fresh)
        return advantages - advantages.mean()

    def terms(self, written: Sequence[Written], advantages: Tensor) -> Iterator[Tensor]:
        """Yield differentiable scalars of the model as it is.

        They add up to ``-weight * sum(advantage * log p(text)) / tokens``.

        Args:
            written: What :meth:`write` returned.
            advantages: What :meth:`weigh` returned.
        """
        texts = []
        for prompt, tokens in written:
            answer = [False] * len(prompt) + [True] * len(tokens)
            texts.append(Encoded(prompt + tokens, answer, answer))
        total = sum(len(tokens) for _, tokens in written)
        for batch in length_buckets(texts, max_tokens=self._max_tokens, max_rows=64, shared=True):
            sums = answer_log_likelihoods(self._writer.model, batch)
            weights = advantages[batch.index].to(sums.device)
            yield -self._weight * (sums * weights).sum() / total

    def write(self, number: int) -> list[Written]:
        """Write a round's texts with the model as it is; another number gives other draws."""
        rng, rows = random.Random(f"{self._seed}/free/{number}"), self._writer.rows
        rows = rng.sample(rows, len(rows))
        prompts = [rows[i % len(rows)] for i in range(self._texts)]
        written = ranks.agree(lambda: self._writer.write(prompts, 1009 * number + self._seed))
        return list(zip(prompts, written, strict=True))
