"""The base model's predictions after a prompt: what a model without the prompt should predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from prosopon.data import Encoded
from prosopon.errors import StatisticsError
from prosopon.lm.reading import read_batches

if TYPE_CHECKING:
    from torch import Tensor, nn


class PromptTeacher:
    """Holds the prompted base model's next-token distribution at every token of some answers.

    After Prompt Baking (arXiv 2409.13697). Of each distribution the likeliest tokens are held;
    all others together count as one more. The divergence between such distributions is at most
    that between the whole ones.

    Args:
        model: A causal LM as it is without a mask; it is read once.
        answers: Encoded answers as they are read without the prompt.
        prompted: The same answers after the prompt.
        top: How many tokens of a distribution are held.
        max_tokens: Most tokens, padding included, in one forward pass.

    Raises:
        StatisticsError: An answer has other tokens after the prompt.
    """

    def __init__(
        self,
        model: nn.Module,
        answers: Sequence[Encoded],
        prompted: Sequence[Encoded],
        *,
        top: int = 64,
        max_tokens: int = 2048,
    ) -> None:
        for one, other in zip(answers, prompted, strict=True):
            if _answer(one) != _answer(other):
                raise StatisticsError(
                    "an answer has other tokens after the prompt than without it: a longer "
                    "max_length may help"
                )
        self.texts, self._max_tokens = list(answers), max_tokens
        self._lessons: list[tuple[Tensor, ...]] = [()] * len(answers)
        with torch.no_grad():
            for indices, rows in self._rows(model, prompted, range(len(prompted)), shared=False):
                tokens = rows.topk(min(top, rows.shape[1])).indices
                columns = [tokens, rows.gather(1, tokens), _rest(rows, tokens)]
                sizes = [sum(self.texts[i].response) for i in indices]
                parts = zip(*(torch.split(values.cpu(), sizes) for values in columns), strict=True)
                for i, part in zip(indices, parts, strict=True):
                    self._lessons[i] = part

    def terms(
        self, model: nn.Module, weight: float = 1.0, part: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Yield scalars that add up to ``weight * KL(prompted || model)``, nats per token.

        Under torchrun they add up to it over all ranks.

        Args:
            model: The model as it is now; it reads the answers without the prompt.
            weight: Weight of the divergence.
            part: Indices of the answers that are read; default all.
        """
        indices = range(len(self.texts)) if part is None else part
        count = sum(sum(self.texts[i].response) for i in indices)
        for batch, rows in self._rows(model, self.texts, indices, shared=True):
            columns = zip(*(self._lessons[i] for i in batch), strict=True)
            tokens, likely, rest = (torch.cat(column).to(rows.device) for column in columns)
            divergence = (likely.exp() * (likely - rows.gather(1, tokens))).sum()
            if tokens.shape[1] < rows.shape[1]:
                divergence = divergence + (rest.exp() * (rest - _rest(rows, tokens))).sum()
            yield weight * divergence / count

    def _rows(
        self, model: nn.Module, texts: Sequence[Encoded], indices: Sequence[int], *, shared: bool
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Yield indices of answers, and log p of their tokens, ``[tokens, vocabulary]``."""
        for batch, logits in read_batches(
            model, texts, part=indices, max_tokens=self._max_tokens, shared=shared
        ):
            yield batch, logits.values.log_softmax(-1)


def _rest(rows: Tensor, tokens: Tensor) -> Tensor:
    """Return the log of the share that all but some tokens have, ``[tokens]``."""
    return rows.scatter(1, tokens, -torch.inf).logsumexp(1)


def _answer(text: Encoded) -> list[int]:
    return [token for token, counts in zip(text.input_ids, text.response, strict=True) if counts]
