"""Log-likelihoods of tokens: differentiable, and summed over texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from prosopon import ranks
from prosopon.data import Batch, Encoded, PaddingSide
from prosopon.errors import DataError
from prosopon.lm.forward import inputs
from prosopon.lm.reading import read_batches, response_mask
from prosopon.progress import inner_steps

if TYPE_CHECKING:
    from torch import Tensor, nn

WORST = 300.0  # nats a token; squares of exp(300) still fit a float


def token_log_likelihoods(model: nn.Module, batch: Batch) -> Tensor:
    """Return log p(token | tokens before it), float32, ``[rows, length - 1]``.

    Column t belongs to the token at position t + 1. Nothing is masked: multiply with a mask of
    ``batch`` shifted by one, see :func:`prosopon.lm.reading.response_mask`.
    """
    logits: Tensor = model(**inputs(model, batch)).logits[:, :-1].float()
    ids = batch.input_ids[:, 1:].to(logits.device)
    return logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)


def answer_log_likelihoods(model: nn.Module, batch: Batch) -> Tensor:
    """Return log p(answer | what comes before it) of each row, float32, [rows], in nats."""
    values = token_log_likelihoods(model, batch)
    return (values * response_mask(batch).to(values.device)).sum(1)


def mean_per_row(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the masked columns of each row; rows without any give 0."""
    mask = mask.to(values.device)
    return values.where(mask, values.new_zeros(())).sum(1) / mask.sum(1).clamp_min(1)


def row_log_likelihoods(
    model: nn.Module,
    texts: Sequence[Encoded],
    *,
    every: bool,
    max_tokens: int = 4096,
    padding_side: PaddingSide = "right",
    shared: bool = False,
) -> list[tuple[float, int]]:
    """Return each text's summed log-likelihood in nats (float64), and its tokens, in order.

    Args:
        model: A causal LM; it is not changed.
        texts: Encoded texts.
        every: Count every token in scope but each text's first, instead of the answers' tokens.
        max_tokens: Most tokens, padding included, in one forward pass.
        padding_side: Where shorter rows are filled up; it changes nothing but rounding.
        shared: Read this rank's share of a run under torchrun; the others' rows are zero.
    """
    rows = [(0.0, 0)] * len(texts)
    reading = read_batches(
        model, texts, every=every, max_tokens=max_tokens, padding_side=padding_side, shared=shared
    )
    with torch.no_grad(), inner_steps("texts read", len(texts)) as advance:
        for batch, logits in reading:
            sums = logits.log_likelihoods().cpu().double().sum(1).tolist()
            for index, total, count in zip(batch, sums, logits.mask.sum(1).tolist(), strict=True):
                rows[index] = (total, count)
            if advance is not None:
                advance(len(batch))
    return rows


def text_losses(
    model: nn.Module,
    texts: Sequence[Encoded],
    *,
    every: bool,
    max_tokens: int = 2048,
    shared: bool = False,
) -> tuple[float, int]:
    """Return the summed negative log-likelihood of texts, in nats (float64), and its tokens.

    For the arguments see :func:`row_log_likelihoods`; ``shared`` sums are over all ranks.
    """
    rows = row_log_likelihoods(model, texts, every=every, max_tokens=max_tokens, shared=shared)
    loss, tokens = -sum(total for total, _ in rows), sum(count for _, count in rows)
    return (ranks.total(loss), int(ranks.total(tokens))) if shared else (loss, tokens)


def perplexity(model: nn.Module, texts: Sequence[Encoded]) -> float:
    """Return exp of minus the mean log-likelihood of every token in scope but a text's first.

    All tokens of all texts weigh alike. Stops at exp(300): a model that is beyond that, or says
    NaN, is broken, and an infinite figure would drop out of every table.

    Raises:
        DataError: There is no token to predict.
    """
    total, count = text_losses(model, texts, every=True)
    if not count:
        raise DataError("no general text with at least two tokens to measure a perplexity on")
    mean = total / count
    return math.exp(mean if mean < WORST else WORST)  # NaN is not less than anything
