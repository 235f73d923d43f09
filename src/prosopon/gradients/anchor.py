"""The base model's own predictions on general text, and how far a masked model has left them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from prosopon.data import Encoded
from prosopon.lm.reading import read_batches

if TYPE_CHECKING:
    from torch import Tensor, nn

EXACT = 2**30  # bytes of predictions up to which they stay float32; beyond it float16


class Anchor:
    """Holds the base model's next-token distribution at every token of general text in scope.

    The divergence is the expected rise of the loss on text that the base model writes, without
    the noise of which token was drawn.

    Args:
        model: A causal LM as it should stay; it is read once.
        texts: Encoded general texts, at least one with two tokens.
        max_tokens: Most tokens, padding included, in one forward pass.
    """

    def __init__(
        self, model: nn.Module, texts: Sequence[Encoded], *, max_tokens: int = 2048
    ) -> None:
        self.texts, self._max_tokens = list(texts), max_tokens
        self._base: list[Tensor] = [torch.empty(0)] * len(texts)
        counts = [sum(text.scope[1:]) for text in texts]
        with torch.no_grad():
            for batch, logits in read_batches(model, texts, every=True, max_tokens=max_tokens):
                rows = logits.values.log_softmax(-1)
                if 4 * sum(counts) * rows.shape[1] > EXACT:
                    rows = rows.half()
                sizes = [counts[i] for i in batch]
                for i, part in zip(batch, torch.split(rows.cpu(), sizes), strict=True):
                    self._base[i] = part

    def terms(
        self,
        model: nn.Module,
        weight: float = 1.0,
        part: Sequence[int] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Tensor]:
        """Yield scalars that add up to ``weight * KL(base || model)``, nats per token.

        Under torchrun they add up to it over all ranks.

        Args:
            model: The model as it is now.
            weight: Weight of the divergence.
            part: Indices of the texts that are read; default all.
            progress: Called with the number of texts of a term before it is yielded.
        """
        indices = range(len(self.texts)) if part is None else part
        tokens = sum(len(self._base[i]) for i in indices)
        for batch, logits in read_batches(
            model, self.texts, part=indices, every=True, max_tokens=self._max_tokens, shared=True
        ):
            term = [weight * self._divergence(logits.values, batch) / tokens]
            del logits  # who drops the term drops its graph: nothing here holds it
            if progress is not None:
                progress(len(batch))
            yield term.pop()

    def _divergence(self, logits: Tensor, batch: Sequence[int]) -> Tensor:
        """Return the summed divergence at every token of some texts, a scalar."""
        ours = logits.log_softmax(-1)
        base = torch.cat([self._base[i] for i in batch]).to(ours.device).float()
        gap = (base - ours).where(base > -math.inf, 0.0)  # 0 log 0 is 0
        return (base.exp() * gap).sum()
