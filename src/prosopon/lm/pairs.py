"""Two answers to one prompt: the prompt is read once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prosopon.data import EncodedPair
from prosopon.lm.reading import common_length, logits_after

if TYPE_CHECKING:
    from torch import Tensor, nn


def shared_length(pair: EncodedPair) -> int:
    """Return how many first tokens a pair shares that no answer's likelihood is read at."""
    first = min(side.response.index(True) for side in pair) - 1
    return common_length([side.input_ids[: max(first, 0)] for side in pair])


def pair_width(pair: EncodedPair) -> int:
    """Return the tokens that are read of a pair: what is shared, and twice the longer rest."""
    shared = shared_length(pair)
    return shared + 2 * (max(map(len, pair)) - shared)


def pair_log_likelihoods(model: nn.Module, pairs: Sequence[EncodedPair]) -> tuple[Tensor, Tensor]:
    """Return log p of the answers' tokens given what comes before, and which columns count.

    A prompt that both sides share is read once, and its keys and values serve both answers, also
    backward; so is what all prompts begin with. See :func:`prosopon.lm.reading.counted_logits`.

    Args:
        model: A causal LM.
        pairs: (target, opposite) encoded examples, each with response tokens; n of them.

    Returns:
        Values, float32 ``[2 n, columns]``, zero where nothing counts, the targets' rows first;
        and the mask, bool, the same shape.
    """
    prompts = [pair[0].input_ids[: shared_length(pair)] for pair in pairs]
    logits = logits_after(model, [pair[side] for side in (0, 1) for pair in pairs], prompts)
    return logits.log_likelihoods(), logits.mask
