"""Which MLP channels and attention heads a mask leaves without effect: names and masks only.

A feed-forward channel is a row of every matrix that reads the layer's input and a column of the
one that writes its output. It adds nothing if that column is pruned, or, where two branches are
multiplied, if its row of the branch without the activation is pruned and has no bias. A head
adds nothing if its columns of the output projection are pruned, or all value rows it reads are
and have no bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

_MLPS = (
    (("gate_proj", "up_proj"), "down_proj"),
    (("w1", "w3"), "w2"),
    (("fc1",), "fc2"),
    (("fc_in",), "fc_out"),
    (("c_fc",), "c_proj"),
    (("up_proj",), "down_proj"),
    (("dense_h_to_4h",), "dense_4h_to_h"),
)
"""What families call the matrices into and out of the channels; of two, the second is plain."""

_ATTENTIONS = tuple(
    (("q_proj", "k_proj", "v_proj"), out) for out in ("o_proj", "out_proj", "dense")
)


class Block(NamedTuple):
    """The matrices around one set of channels or heads; full names of sites.

    Attributes:
        layer: Dotted name that all of them begin with.
        inputs: Matrices whose rows are channels: the feed-forward branches, or query, key, value.
        output: The matrix whose columns are.
    """

    layer: str
    inputs: tuple[str, ...]
    output: str


class Heads(NamedTuple):
    """The numbers of an attention layer.

    Attributes:
        groups: Key-value heads.
        queries: Query heads of each.
        size: Channels of a head.
    """

    groups: int
    queries: int
    size: int


def mlp_blocks(names: Iterable[str]) -> list[Block]:
    """Return the feed-forward blocks that a model's site names make up, in order."""
    return _blocks(names, _MLPS)


def attention_blocks(names: Iterable[str]) -> list[Block]:
    """Return the attention blocks with separate projections, in order; fused ones are left out."""
    return _blocks(names, _ATTENTIONS)


def _blocks(names: Iterable[str], shapes: Iterable[tuple[tuple[str, ...], str]]) -> list[Block]:
    parents: dict[str, set[str]] = {}
    for name in names:
        parent, _, leaf = name.rpartition(".")
        parents.setdefault(parent, set()).add(leaf)
    found = []
    for parent, leaves in parents.items():
        for inputs, output in shapes:
            if leaves.issuperset((*inputs, output)):
                full = tuple(f"{parent}.{leaf}" for leaf in inputs)
                found.append(Block(parent, full, f"{parent}.{output}"))
                break
    return found


def dead_channels(block: Block, keep: Mapping[str, Tensor], biased: set[str]) -> Tensor | None:
    """Return which channels of a feed-forward block add nothing.

    Args:
        block: The block.
        keep: Bool [out, in] masks; sites without one are dense.
        biased: Sites with a bias.

    Returns:
        Bool [channels]; None if no mask says how many there are.
    """
    dead = None
    if block.output in keep:
        dead = ~keep[block.output].any(dim=0)
    if len(block.inputs) == 2 and (plain := block.inputs[1]) in keep and plain not in biased:
        rows = ~keep[plain].any(dim=1)
        dead = rows if dead is None else dead | rows
    return dead


def dead_heads(block: Block, heads: Heads, keep: Mapping[str, Tensor], biased: set[str]) -> Tensor:
    """Return which query heads of an attention block add nothing, bool [groups, queries]."""
    dead = torch.zeros(heads.groups, heads.queries, dtype=torch.bool)
    if block.output in keep:
        columns = keep[block.output].any(dim=0)
        dead |= ~columns.view(heads.groups, heads.queries, heads.size).any(dim=2)
    value = block.inputs[2]
    if value in keep and value not in biased:
        dead |= ~keep[value].view(heads.groups, -1).any(dim=1, keepdim=True)
    return dead


def choose_channels(dead: Tensor, count: int) -> Tensor:
    """Return ``count`` channels, ascending: all live ones, then the first dead ones as padding.

    Args:
        dead: Bool [channels].
        count: At least as many as are live.

    Returns:
        Int64 [count].
    """
    order = torch.cat([(~dead).nonzero().squeeze(1), dead.nonzero().squeeze(1)])
    return order[:count].sort().values


def choose_heads(dead: Tensor, groups: int, queries: int) -> tuple[Tensor, Tensor]:
    """Return the key-value heads and the query heads to keep: all live ones, then padding.

    Args:
        dead: Bool [groups, queries].
        groups: Key-value heads to keep, at least as many as have a live query head.
        queries: Query heads of each to keep, at least the most that are live in one.

    Returns:
        Key-value heads, int64 [groups], and query heads, int64 [groups * queries], ascending.
    """
    kept = choose_channels(dead.all(dim=1), groups)
    chosen = [choose_channels(dead[group], queries) + group * dead.shape[1] for group in kept]
    return kept, torch.cat(chosen)
