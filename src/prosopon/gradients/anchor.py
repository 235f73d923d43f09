"""The base model's own predictions on general text, and how far a masked model has left them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from prosopon.data import Batch, Encoded, length_buckets
from prosopon.lm.forward import inputs
from prosopon.lm.likelihood import response_mask
from prosopon.lm.pairs import logits_at

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
            for batch, mask in self._batches(range(len(texts)), shared=False):
                rows = log_probabilities(model, batch, mask)
                if 4 * sum(counts) * rows.shape[1] > EXACT:
                    rows = rows.half()
                sizes = [counts[i] for i in batch.index]
                for i, part in zip(batch.index, torch.split(rows.cpu(), sizes), strict=True):
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
        for batch, mask in self._batches(indices, shared=True):
            ours = log_probabilities(model, batch, mask)
            base = torch.cat([self._base[i] for i in batch.index]).to(ours.device).float()
            gap = (base - ours).where(base > -math.inf, 0.0)  # 0 log 0 is 0
            if progress is not None:
                progress(len(batch.index))
            yield weight * (base.exp() * gap).sum() / tokens

    def _batches(self, indices: Sequence[int], *, shared: bool) -> Iterator[tuple[Batch, Tensor]]:
        """Yield batches, their rows' indices among all texts, and which columns count."""
        texts = [self.texts[i] for i in indices]
        for batch in length_buckets(texts, max_tokens=self._max_tokens, max_rows=64, shared=shared):
            batch.index[:] = [indices[i] for i in batch.index]
            yield batch, response_mask(batch, every=True)


def log_probabilities(model: nn.Module, batch: Batch, mask: Tensor) -> Tensor:
    """Return log p of the masked columns' next tokens, float32 ``[tokens, vocabulary]``."""
    columns = torch.nn.functional.pad(mask, (0, 1))
    return logits_at(model, inputs(model, batch), columns).log_softmax(-1)
