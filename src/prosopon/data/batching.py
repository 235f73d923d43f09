"""From encoded conversations to padded batches of about the same length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from prosopon.data.encoding import Encoded
from prosopon.errors import OptionError
from prosopon.ranks import share

if TYPE_CHECKING:
    import torch

PaddingSide = Literal["left", "right"]
"""Where a shorter row is filled up."""


@dataclass(frozen=True)
class Batch:
    """Rows of tokens, filled up to the longest; B rows of T tokens."""

    input_ids: torch.Tensor  # [B, T] int64
    attention_mask: torch.Tensor  # [B, T] int64; 1 for tokens, 0 for padding
    scope: torch.Tensor  # [B, T] bool; the tokens that count; False for padding
    response: torch.Tensor  # [B, T] bool; the tokens of the answers; False for padding
    position_ids: torch.Tensor  # [B, T] int64; a token's place in its row, padding not counted
    index: list[int]  # which encoded item each row is

    def __len__(self) -> int:
        return len(self.index)

    def row(self, number: int) -> Batch:
        """Return one row as a batch of its own, padding included; or raise an IndexError."""
        item, row = self.index[number], number % len(self)
        return self._map(lambda tensor: tensor[row : row + 1], [item])

    def columns(self, part: slice) -> Batch:
        """Return a part of every row."""
        return self._map(lambda tensor: tensor[:, part], self.index)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on ``device``."""
        return self._map(lambda tensor: tensor.to(device), self.index)

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor], index: list[int]) -> Batch:
        names = (field.name for field in fields(self) if field.name != "index")
        return Batch(**{name: change(getattr(self, name)) for name in names}, index=index)


def length_buckets(
    encoded: Sequence[Encoded],
    *,
    max_tokens: int = 4096,
    max_rows: int = 64,
    padding_side: PaddingSide = "right",
    pad_id: int = 0,
    shared: bool = False,
) -> Iterator[Batch]:
    """Return batches of rows of about the same length, the shortest first.

    Rows of the same length keep their order, so that the batches depend on nothing but the input.

    Args:
        encoded: What to put into batches; every item comes once.
        max_tokens: Most tokens of a batch, padding included; an item longer than that is alone.
        max_rows: Most rows of a batch.
        padding_side: Where shorter rows are filled up, by ``pad_id``.
        pad_id: A token.
        shared: Only what this rank reads of a run under torchrun; see :mod:`prosopon.ranks`.
    """
    _check_sizes(max_tokens, max_rows)
    _check_side(padding_side)
    # The checks above run at the call, which they would not inside a generator.
    return (
        _collate(encoded, chunk, padding_side, pad_id)
        for chunk in chunk_by_length(
            [len(item) for item in encoded], max_tokens, max_rows, shared=shared
        )
    )


def collate(
    encoded: Sequence[Encoded], *, padding_side: PaddingSide = "right", pad_id: int = 0
) -> Batch:
    """Put at least one item into one batch: row i is item i; see :func:`length_buckets`."""
    _check_side(padding_side)
    if not encoded:
        raise OptionError("a batch needs at least one row")
    return _collate(encoded, range(len(encoded)), padding_side, pad_id)


def chunk_by_length(
    lengths: Sequence[int], max_tokens: int, max_rows: int, *, shared: bool = False
) -> Iterator[list[int]]:
    """Yield the items of each batch, the shortest first, by the length of every item.

    The ranks of a run under torchrun take turns at the lengths, so that their shares weigh alike.

    Raises:
        OptionError: A size is below 1.
    """
    _check_sizes(max_tokens, max_rows)
    chunk: list[int] = []
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for item in share(order) if shared else order:
        tokens = (len(chunk) + 1) * lengths[item]  # the newest item is the longest
        if chunk and (tokens > max_tokens or len(chunk) == max_rows):
            yield chunk
            chunk = []
        chunk.append(item)
    if chunk:
        yield chunk


def _check_sizes(max_tokens: int, max_rows: int) -> None:
    for name, value in (("max_tokens", max_tokens), ("max_rows", max_rows)):
        if value < 1:
            raise OptionError(f"{name} is {value}; it must be at least 1")


def _collate(
    encoded: Sequence[Encoded], items: Sequence[int], padding_side: PaddingSide, pad_id: int
) -> Batch:
    """Pad the ``items`` of ``encoded`` to one length."""
    import torch

    length = max(len(encoded[item]) for item in items)

    def padded(rows: Iterable[Sequence[int]], fill: int, dtype: torch.dtype) -> torch.Tensor:
        filled = []
        for row in rows:
            padding = [fill] * (length - len(row))
            filled.append([*padding, *row] if padding_side == "left" else [*row, *padding])
        return torch.tensor(filled, dtype=dtype)

    rows = [encoded[item] for item in items]
    mask = padded(([1] * len(row) for row in rows), 0, torch.int64)
    return Batch(
        input_ids=padded((row.input_ids for row in rows), pad_id, torch.int64),
        attention_mask=mask,
        scope=padded((row.scope for row in rows), False, torch.bool),
        response=padded((row.response for row in rows), False, torch.bool),
        position_ids=(mask.cumsum(dim=1) - 1).clamp_min(0),
        index=list(items),
    )


def _check_side(padding_side: str) -> None:
    if padding_side not in ("left", "right"):
        raise OptionError(f"unknown padding side {padding_side!r}. Choices: left, right")
