"""Two answers to one prompt: the prompt is read once, logits only where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from prosopon.data import Batch, Encoded, EncodedPair, collate
from prosopon.lm.forward import cache_name, inputs, past_of, trunk

if TYPE_CHECKING:
    from torch import Tensor, nn


def logits_at(model: nn.Module, arguments: dict[str, Any], mask: Tensor) -> Tensor:
    """Return the logits at some tokens only, float32 ``[tokens, vocabulary]``.

    The output head, a fifth of a small model, reads no others.

    Args:
        model: A causal LM.
        arguments: Of one forward pass.
        mask: Whose logits are asked for, bool ``[rows, length]``.
    """
    mask = mask.to(arguments["input_ids"].device)
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is None:
        logits: Tensor = model(**arguments).logits
    else:
        handle = head.register_forward_pre_hook(lambda _, args: (args[0][mask], *args[1:]))
        try:
            logits = model(**arguments).logits
        finally:
            handle.remove()
    # A model that does not call its head as a module gives all of them.
    return (logits if logits.dim() == 2 else logits[mask]).float()


def shared_length(pair: EncodedPair) -> int:
    """Return how many first tokens a pair shares that no answer's likelihood is read at."""
    first = min(side.response.index(True) for side in pair) - 1
    ours, theirs = (side.input_ids[: max(first, 0)] for side in pair)
    same = (a == b for a, b in zip(ours, theirs, strict=True))
    return next((i for i, equal in enumerate(same) if not equal), len(ours))


def pair_width(pair: EncodedPair) -> int:
    """Return the tokens that are read of a pair: what is shared, and twice the longer rest."""
    shared = shared_length(pair)
    return shared + 2 * (max(map(len, pair)) - shared)


def pair_log_likelihoods(model: nn.Module, pairs: Sequence[EncodedPair]) -> tuple[Tensor, Tensor]:
    """Return log p of the answers' tokens given what comes before, and which columns count.

    A prompt that both sides share is read once, and its keys and values serve both answers, also
    backward. Models that keep something else than keys and values read both rows whole.

    Args:
        model: A causal LM.
        pairs: (target, opposite) encoded examples, each with response tokens; n of them.

    Returns:
        Values, float32 ``[2 n, columns]``, zero where nothing counts, the targets' rows first;
        and the mask, bool, the same shape.
    """
    shared = [shared_length(pair) for pair in pairs]
    past = _read_prompts(model, pairs, shared) if min(shared) else {}
    if not past:
        shared = [0] * len(pairs)
    batch = collate(
        [_rest(p[side], s) for side in (0, 1) for p, s in zip(pairs, shared, strict=True)]
    )
    arguments = inputs(model, batch)
    if past:
        arguments |= _continued(arguments, torch.tensor(shared), max(shared)) | past
        arguments["use_cache"] = True
    return token_values(model, arguments, batch)


def token_values(
    model: nn.Module, arguments: dict[str, Any], batch: Batch
) -> tuple[Tensor, Tensor]:
    """Return each response token's log-likelihood and which columns those are."""
    mask = batch.response[:, 1:] & batch.attention_mask[:, :-1].bool()
    logits = logits_at(model, arguments, torch.nn.functional.pad(mask, (0, 1)))
    mask = mask.to(logits.device)
    ids = batch.input_ids[:, 1:].to(logits.device)[mask]
    rows = logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)
    return torch.zeros(mask.shape, device=rows.device).masked_scatter(mask, rows), mask


def _rest(text: Encoded, begin: int) -> Encoded:
    return Encoded(text.input_ids[begin:], text.scope[begin:], text.response[begin:])


def _read_prompts(
    model: nn.Module, pairs: Sequence[EncodedPair], shared: list[int]
) -> dict[str, Any]:
    """Return the keys and values of what every pair shares, twice, as the next pass takes them."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    below = trunk(model)
    if cache_name(below) is None:
        return {}
    prompts = [target.input_ids[:length] for (target, _), length in zip(pairs, shared, strict=True)]
    batch = collate([Encoded(ids, [False] * len(ids), [False] * len(ids)) for ids in prompts])
    past = past_of(below(**inputs(below, batch) | {"use_cache": True}))
    cache = next(iter(past.values()), None)
    if not isinstance(cache, DynamicCache) or not all(
        isinstance(layer, DynamicLayer) for layer in cache.layers
    ):
        return {}
    rows = torch.arange(len(pairs)).repeat(2).to(next(below.parameters()).device)
    cache.batch_select_indices(rows)
    return past


def _continued(arguments: dict[str, Any], shared: Tensor, longest: int) -> dict[str, Any]:
    """Return the attention mask and the positions of rows that go on from a cache."""
    mask = arguments["attention_mask"]
    lengths = shared.repeat(2).unsqueeze(1).to(mask.device)
    before = torch.arange(longest, device=mask.device) < lengths
    changed = {"attention_mask": torch.cat([before.to(mask.dtype), mask], 1)}
    if "position_ids" in arguments:
        changed["position_ids"] = arguments["position_ids"] + lengths
    return changed
