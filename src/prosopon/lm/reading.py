"""Reading texts in one pass: what they begin with alike once, logits only where they count."""

from __future__ import annotations

import inspect
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

    def choose(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return args[0][mask.to(args[0].device)], *args[1:]

    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is None:
        logits: Tensor = model(**arguments).logits
    else:
        handle = head.register_forward_pre_hook(choose)
        try:
            logits = model(**arguments).logits
        finally:
            handle.remove()
    # A model that does not call its head as a module gives all of them.
    return (logits if logits.dim() == 2 else logits[mask.to(logits.device)]).float()


def read_batches(
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
    else than keys and values read every text whole; so do texts that are filled up at the left,
    where padding would come between a beginning and what follows it.

    Args:
        model: A causal LM whose modules read every row alike. Its head has a hook meanwhile, so
            no other thread may run it.
        texts: At least one.
        every: See :func:`response_mask`.
        padding_side: Where shorter rows are filled up; it changes nothing but rounding.
    """
    begin = min(common_length([text.input_ids for text in texts]), *_uncounted(texts, every))
    if begin * (len(texts) - 1) < WORTH or padding_side == "left":
        return logits_after(model, texts, every=every, padding_side=padding_side)
    beginning = texts[0].input_ids[:begin]
    return logits_after(model, texts, [beginning], every=every)


def logits_after(
    model: nn.Module,
    texts: Sequence[Encoded],
    beginnings: Sequence[list[int]] = (),
    *,
    every: bool = False,
    padding_side: PaddingSide = "right",
) -> CountedLogits:
    """Read texts in one pass, and their beginnings before.

    Args:
        model: A causal LM.
        texts: At least one.
        beginnings: Tokens; text i begins with number ``i % len(beginnings)``. Without any, or if
            one is empty, texts are read whole.
        every: See :func:`response_mask`.
        padding_side: Where shorter rows are filled up.
    """
    start = None
    if beginnings and min(map(len, beginnings)):
        start = _read(model, beginnings, [i % len(beginnings) for i in range(len(texts))])
    begins = [0] * len(texts) if start is None else start.mask.sum(1).tolist()
    batch = collate(
        [_rest(text, begin) for text, begin in zip(texts, begins, strict=True)],
        padding_side=padding_side,
    )
    arguments = inputs(model, batch)
    if start is not None:
        arguments = start.go_on(arguments)
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


class _Start(NamedTuple):
    """The beginnings of some rows as a model keeps them.

    Attributes:
        past: Keys and values, as the next pass takes them.
        mask: int64 ``[rows, columns]``; 1 for their tokens, 0 for padding.
    """

    past: dict[str, Any]
    mask: Tensor

    def go_on(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a pass whose rows go on from here."""
        mask = arguments["attention_mask"]
        before = self.mask.to(mask.device, mask.dtype)
        changed = {"attention_mask": torch.cat([before, mask], 1), "use_cache": True}
        if "position_ids" in arguments:
            changed["position_ids"] = arguments["position_ids"] + before.sum(1, keepdim=True)
        return arguments | changed | self.past


def _read(model: nn.Module, beginnings: Sequence[list[int]], rows: list[int]) -> _Start | None:
    """Return the beginnings of rows, read once each; None of a model that keeps none by row.

    They are filled up at the left, so that a text goes on right after its beginning: windows and
    ALiBi count columns. What the beginnings begin with alike is read once where padding between
    it and the rest of them does no harm.
    """
    below = trunk(model)
    if cache_name(below) is None:
        return None
    root = min(common_length(beginnings), *(len(tokens) - 1 for tokens in beginnings))
    start = None
    if root * (len(beginnings) - 1) >= WORTH and (
        len(set(map(len, beginnings))) == 1 or _counts_positions(below)
    ):
        start = _read(model, [beginnings[0][:root]], [0] * len(beginnings))
    texts = [
        _rest(Encoded(tokens, no, no), root if start is not None else 0)
        for tokens in beginnings
        for no in [[False] * len(tokens)]
    ]
    batch = collate(texts, padding_side="left")
    arguments, mask = inputs(below, batch), batch.attention_mask
    if start is not None:
        arguments, mask = start.go_on(arguments), torch.cat([start.mask, mask], 1)
    past = past_of(below(**arguments | {"use_cache": True}))
    return _Start(past, mask[rows]) if _choose_rows(past, rows) else None


def _choose_rows(past: dict[str, Any], rows: list[int]) -> bool:
    """Choose rows of keys and values, in place; tell whether they are kept by row at all."""
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    cache: Any = next(iter(past.values()), None)
    # Caches that are made of these hold states of another kind as well.
    if type(cache) is not DynamicCache or any(
        type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers
    ):
        return False
    cache.batch_select_indices(torch.tensor(rows))
    return True


def _counts_positions(below: nn.Module) -> bool:
    """Tell whether attention goes by a token's place in its text, not by its column in a batch."""
    if "position_ids" not in inspect.signature(below.forward).parameters:
        return False
    config = getattr(below, "config", None)
    options = config.to_dict() if config is not None else {}
    return not any("window" in name or "local" in name for name in options if options[name])
