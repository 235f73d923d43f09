"""Reading texts in one pass: what they begin with alike once, logits only where they count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from prosopon.data import Batch, Encoded, PaddingSide, collate
from prosopon.data.batching import chunk_by_length
from prosopon.lm.forward import cache_name, inputs, past_of, trunk

if TYPE_CHECKING:
    from torch import Tensor, nn

MAX_ROWS = 64  # of a pass
WORTH = 64  # tokens that a pass more must spare


class CountedLogits(NamedTuple):
    """Logits at the counted tokens of n texts; k tokens count.

    Attributes:
        values: float32 ``[k, vocabulary]``, text by text.
        ids: The tokens that they predict, int64 ``[k]``.
        mask: Which tokens those are, bool ``[n, columns]``; column t is the token after it.
    """

    values: Tensor
    ids: Tensor
    mask: Tensor

    def log_likelihoods(self) -> Tensor:
        """Return log p(token | tokens before it), float32 ``[n, columns]``, 0 where none counts."""
        chosen = self.values.gather(-1, self.ids.unsqueeze(-1)).squeeze(-1)
        rows = chosen - self.values.logsumexp(-1)
        return torch.zeros(self.mask.shape, device=rows.device).masked_scatter(self.mask, rows)


def response_mask(batch: Batch, *, every: bool = False) -> Tensor:
    """Return which tokens of a batch count, bool, ``[rows, length - 1]``; column t is token t + 1.

    Args:
        batch: The batch.
        every: Count every token in the texts' scope instead of the response's tokens. A token
            whose predecessor is padding is never counted.
    """
    mask = batch.scope if every else batch.response
    return mask[:, 1:] & batch.attention_mask[:, :-1].bool()


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


def read_texts(
    model: nn.Module,
    texts: Sequence[Encoded],
    *,
    part: Sequence[int] | None = None,
    every: bool = False,
    max_tokens: int = 2048,
    padding_side: PaddingSide = "right",
    shared: bool = False,
) -> Iterator[tuple[list[int], CountedLogits]]:
    """Yield the numbers of some texts of about the same length, and their logits, until all are.

    Args:
        model: See :func:`counted_logits`.
        texts: Encoded texts.
        part: Numbers of those that are read; default all.
        every: See :func:`response_mask`.
        max_tokens: Most tokens, padding included, in one forward pass.
        padding_side: Where shorter rows are filled up; it changes nothing but rounding.
        shared: Only what this rank reads of a run under torchrun.
    """
    numbers = range(len(texts)) if part is None else part
    lengths = [len(texts[i]) for i in numbers]
    for chunk in chunk_by_length(lengths, max_tokens, MAX_ROWS, shared=shared):
        batch = [numbers[i] for i in chunk]
        rows = [texts[i] for i in batch]
        yield batch, counted_logits(model, rows, every=every, padding_side=padding_side)


def counted_logits(
    model: nn.Module,
    texts: Sequence[Encoded],
    *,
    every: bool = False,
    padding_side: PaddingSide = "right",
) -> CountedLogits:
    """Read texts in one pass, and what they begin with alike, such as a system prompt, once.

    The beginning's keys and values serve all of them, also backward. Models that keep something
    else than keys and values read every text whole.

    Args:
        model: A causal LM whose modules read every row alike.
        texts: At least one.
        every: See :func:`response_mask`.
        padding_side: Where shorter rows are filled up; it changes nothing but rounding.
    """
    begin = min(common_length([text.input_ids for text in texts]), *_uncounted(texts, every))
    if begin * (len(texts) - 1) < WORTH:
        return logits_after(model, texts, [0] * len(texts), [], every=every, side=padding_side)
    return logits_after(
        model, texts, [begin] * len(texts), [texts[0].input_ids[:begin]],
        every=every, side=padding_side,
    )  # fmt: skip


def logits_after(
    model: nn.Module,
    texts: Sequence[Encoded],
    lengths: Sequence[int],
    beginnings: Sequence[list[int]],
    *,
    every: bool = False,
    side: PaddingSide = "right",
) -> CountedLogits:
    """Read texts in one pass, and their beginnings before.

    Args:
        model: A causal LM.
        texts: At least one.
        lengths: How many first tokens of every text its beginning holds.
        beginnings: Tokens; text i begins with number ``i % len(beginnings)``. None: no length
            is above zero.
        every: See :func:`response_mask`.
        side: Where shorter rows are filled up.
    """
    rows = [i % len(beginnings) for i in range(len(texts))] if beginnings else []
    past = _read(model, beginnings, rows) if beginnings and min(lengths) else {}
    if not past:
        lengths = [0] * len(texts)
    batch = collate(
        [_rest(text, length) for text, length in zip(texts, lengths, strict=True)],
        padding_side=side,
    )
    arguments = inputs(model, batch)
    if past:
        arguments = _continued(arguments, lengths, past)
    mask = response_mask(batch, every=every)
    values = logits_at(model, arguments, torch.nn.functional.pad(mask, (0, 1)))
    mask = mask.to(values.device)
    return CountedLogits(values, batch.input_ids[:, 1:].to(values.device)[mask], mask)


def common_length(rows: Sequence[list[int]]) -> int:
    """Return how many first tokens all rows have in common."""
    shortest, longest = min(rows), max(rows)  # what the first and the last in order share, all do
    same = (a == b for a, b in zip(shortest, longest, strict=False))
    return next((i for i, equal in enumerate(same) if not equal), len(shortest))


def _uncounted(texts: Sequence[Encoded], every: bool) -> list[int]:
    """Return how many tokens stand before the one whose logits each text's first counted needs."""
    return [
        next((i for i in range(1, len(text)) if mask[i]), len(text)) - 1
        for text in texts
        for mask in [text.scope if every else text.response]
    ]


def _rest(text: Encoded, begin: int) -> Encoded:
    return Encoded(text.input_ids[begin:], text.scope[begin:], text.response[begin:])


def _read(model: nn.Module, beginnings: Sequence[list[int]], rows: list[int]) -> dict[str, Any]:
    """Return the keys and values of beginnings, one of them a row, as the next pass takes them.

    What the beginnings themselves begin with alike is read once. Empty where a model keeps none.
    """
    below = trunk(model)
    if cache_name(below) is None:
        return {}
    root = min(common_length(beginnings), *(len(tokens) - 1 for tokens in beginnings))
    past = {}
    if root * (len(beginnings) - 1) >= WORTH:
        past = _read(model, [beginnings[0][:root]], [0] * len(beginnings))
    begin = root if past else 0
    nothing = [[False] * (len(tokens) - begin) for tokens in beginnings]
    batch = collate([Encoded(t[begin:], no, no) for t, no in zip(beginnings, nothing, strict=True)])
    arguments = inputs(below, batch) | {"use_cache": True}
    if past:
        arguments = _continued(arguments, [begin] * len(beginnings), past)
    return _for_rows(past_of(below(**arguments)), rows, next(below.parameters()).device)


def _for_rows(past: dict[str, Any], rows: list[int], device: torch.device) -> dict[str, Any]:
    """Return the keys and values of some rows; empty where they are not kept by row."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    cache = next(iter(past.values()), None)
    if not isinstance(cache, DynamicCache) or not all(
        isinstance(layer, DynamicLayer) for layer in cache.layers
    ):
        return {}
    cache.batch_select_indices(torch.tensor(rows, device=device))
    return past


def _continued(
    arguments: dict[str, Any], lengths: Sequence[int], past: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a pass whose rows go on from so many tokens of a cache."""
    mask = arguments["attention_mask"]
    offset = torch.tensor(lengths, device=mask.device).unsqueeze(1)
    before = torch.arange(max(lengths), device=mask.device) < offset
    changed = {"attention_mask": torch.cat([before.to(mask.dtype), mask], 1), "use_cache": True}
    if "position_ids" in arguments:
        changed["position_ids"] = arguments["position_ids"] + offset
    return arguments | changed | past
