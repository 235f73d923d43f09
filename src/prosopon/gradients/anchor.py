"""The base model's own predictions on general text, and how far a masked model has left them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from prosopon.data import Encoded, length_buckets
from prosopon.lm.forward import inputs
from prosopon.lm.likelihood import response_mask

if TYPE_CHECKING:
    from torch import Tensor, nn

EXACT = 2**30  # bytes of predictions up to which they stay float32; beyond it float16


class Anchor:
    """Holds the base model's next-token distribution at every token of general text.

    Of the texts' tokens all but the first count. The divergence is the expected rise of the loss
    on text that the base model writes, without the noise of which token was drawn.

    Args:
        model: A causal LM as it should stay; it is read once.
        texts: Encoded general texts, at least one with two tokens.
        max_tokens: Most tokens, padding included, in one forward pass.
    """

    def __init__(
        self, model: nn.Module, texts: Sequence[Encoded], *, max_tokens: int = 2048
    ) -> None:
        self._batches = list(length_buckets(texts, max_tokens=max_tokens, max_rows=64))
        self._masks = [response_mask(batch, every=True) for batch in self._batches]
        self._tokens = sum(int(mask.sum()) for mask in self._masks)
        self._base: list[Tensor] = []
        with torch.no_grad():
            for batch, mask in zip(self._batches, self._masks, strict=True):
                rows = _log_probabilities(model(**inputs(model, batch)).logits, mask)
                size = 4 * self._tokens * rows.shape[1]
                self._base.append(rows.cpu() if size <= EXACT else rows.half().cpu())

    def terms(self, model: nn.Module, weight: float = 1.0) -> Iterator[Tensor]:
        """Yield scalars that add up to ``weight * KL(base || model)``, nats per token."""
        for batch, mask, rows in zip(self._batches, self._masks, self._base, strict=True):
            ours = _log_probabilities(model(**inputs(model, batch)).logits, mask)
            base = rows.to(ours.device).float()
            gap = (base - ours).where(base > -math.inf, 0.0)  # 0 log 0 is 0
            yield weight * (base.exp() * gap).sum() / self._tokens


def _log_probabilities(logits: Tensor, mask: Tensor) -> Tensor:
    """Return log p of the masked columns' next tokens, float32 ``[tokens, vocabulary]``."""
    return logits[:, :-1][mask.to(logits.device)].float().log_softmax(-1)
