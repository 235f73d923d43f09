"""How likely answers are to a persona that is worn for them alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from prosopon.data import Encoded, PaddingSide, length_buckets
from prosopon.errors import DataError
from prosopon.lm.likelihood import token_log_likelihoods
from prosopon.lm.reading import response_mask

if TYPE_CHECKING:
    from prosopon.runtime.looks import Wearable
    from prosopon.runtime.persona_model import PersonaModel


def activated_log_likelihoods(
    wearer: PersonaModel,
    rows: Sequence[Wearable],
    texts: Sequence[Encoded],
    *,
    max_tokens: int = 4096,
    padding_side: PaddingSide = "right",
) -> list[tuple[float, int]]:
    """Return log p(answer | prompt) in nats, and the answer's tokens, of every text in order.

    A row wears its look from the prompt's last token on: what stands before is read by the base.
    The answer begins with the first token that counts as response.

    Args:
        wearer: The model.
        rows: What each text is scored by, see :meth:`PersonaModel.mixed
            <prosopon.runtime.PersonaModel.mixed>`.
        texts: Prompts with answers, encoded.
        max_tokens: Most tokens, padding included, in one forward pass.
        padding_side: Where shorter rows are filled up; it changes nothing but rounding.

    Raises:
        DataError: A text has no answer, or none after a first token.
        ProsoponError: See ``PersonaModel.mixed``.
    """
    if not all(True in text.response[1:] and not text.response[0] for text in texts):
        raise DataError("a text to score needs a token, and an answer after it")
    scores = [(0.0, 0)] * len(texts)
    with torch.no_grad():
        for batch in length_buckets(texts, max_tokens=max_tokens, padding_side=padding_side):
            since = (batch.response.int().argmax(1) - 1).tolist()
            with wearer.mixed([rows[index] for index in batch.index], activate=since):
                values = token_log_likelihoods(wearer.model, batch).cpu().double()
            mask = response_mask(batch)
            sums = values.where(mask, values.new_zeros(())).sum(1).tolist()
            for index, total, count in zip(batch.index, sums, mask.sum(1).tolist(), strict=True):
                scores[index] = total, count
    return scores
