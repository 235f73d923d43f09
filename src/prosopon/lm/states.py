"""What a model makes of whole texts: mean hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from prosopon.data import Encoded, length_buckets
from prosopon.lm.forward import inputs, trunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEPTH = 2 / 3  # of the layers: past the words themselves, before the choice of the next one


def mean_states(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    max_length: int | None = None,
    max_tokens: int = 4096,
) -> NDArray[np.float64]:
    """Return the mean over tokens of each plain text's hidden states, ``[texts, channels]``.

    Args:
        model: A causal LM.
        tokenizer: Its tokenizer.
        texts: The texts, none blank.
        max_length: Longest text in tokens; longer ones lose their beginning.
        max_tokens: Most tokens, padding included, in one forward pass.
    """
    below = trunk(model)
    if not texts:
        return np.zeros((0, 1))
    ids = [row[-max_length:] if max_length else row for row in tokenizer(list(texts))["input_ids"]]
    rows = [Encoded(row, [True] * len(row), [True] * len(row)) for row in ids]
    means: list[Any] = [None] * len(rows)
    with torch.no_grad():
        for batch in length_buckets(rows, max_tokens=max_tokens, max_rows=64):
            states = below(**inputs(below, batch), output_hidden_states=True).hidden_states
            layer = states[round(DEPTH * (len(states) - 1))].double()
            mask = batch.attention_mask.to(layer.device).unsqueeze(-1)
            sums = (layer * mask).sum(1) / mask.sum(1)
            for index, row in zip(batch.index, sums.cpu().numpy(), strict=True):
                means[index] = row
    return np.stack(means)
