"""Packed batches: spans of tokens that stand behind each other, each of which wears its own look.

What :mod:`prosopon.runtime.mixed` does for rows, for batches of the shape [1, tokens], which hold
the prompt of one row beside the next token of another. Rows change from step to step, so their
matrices are kept: the looks of the last steps stand on the diagonal of one matrix a site, and the
tokens that wear a look are its columns. A long span has its look's matrix to itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from prosopon.errors import PersonaError
from prosopon.models import Site
from prosopon.runtime.blocks import Block, Blocks, diagonal, multiply
from prosopon.runtime.cache import LookCache
from prosopon.runtime.looks import Look

SHORT = 4
"""Most tokens of a span that share a matrix with other looks."""

MOST_LOOKS = 16
"""Most looks in one matrix that the step at hand does not need."""


class Span(NamedTuple):
    """Tokens behind each other that wear the same."""

    look: Look  # empty for the base
    length: int


class Stacks:
    """Keeps what the looks of the last steps take off, on the diagonal of one matrix a site."""

    def __init__(self, blocks: Blocks, limit: int = 1 << 30) -> None:
        self._blocks = blocks
        self._cache = LookCache[tuple[tuple[Look, ...], str], tuple[Tensor | None, Any]](limit)
        self._digests: dict[Look, bytes] = {}
        self._looks: tuple[Look, ...] = ()

    def choose(self, looks: Sequence[Look]) -> tuple[Look, ...]:
        """Return the looks of the matrix for a step: those it needs, and some of the last ones."""
        if not set(looks) <= set(self._looks) or len(self._looks) > 4 * len(looks):
            rest = [look for look in self._looks if look not in looks]
            self._looks = (*looks, *rest[: min(MOST_LOOKS, 3 * len(looks))])
        return self._looks

    def get(self, looks: tuple[Look, ...], site: Site) -> Tensor | None:
        """Return the matrix of looks at a site, sparse [looks * out, looks * in]; None for none."""
        key = looks, site.name
        version = None if site.quantised else (site.weight.data_ptr(), site.weight._version)
        entry = self._cache.get(key)
        if entry is not None and entry[1] == version:
            return entry[0]
        parts = [self._blocks.get(look, site) for look in looks]
        some = next((part for part in parts if part is not None), None)
        matrix = None
        if some is not None:
            matrix = diagonal(site, [part or _empty(some) for part in parts])
        nbytes = sum(12 * len(part.values) for part in parts if part is not None)
        self._cache.put(key, (matrix, version), nbytes, looks)
        return matrix

    def digest(self, look: Look, sites: Sequence[Site]) -> bytes:
        """Return what names a look; see :meth:`~prosopon.runtime.blocks.Blocks.digest`."""
        if look not in self._digests:
            self._digests[look] = self._blocks.digest(look, sites)
        return self._digests[look]

    def drop(self, name: str) -> None:
        """Forget what involves a persona."""
        self._cache.drop(name)
        for look in [look for look in self._digests if name in {part.name for part in look}]:
            del self._digests[look]
        self._looks = tuple(
            look for look in self._looks if name not in {part.name for part in look}
        )


class SpanHooks:
    """The hooks that give every span its look while they are there.

    A look that prunes an expert is a PersonaError.
    """

    def __init__(self, sites: Sequence[Site], spans: Sequence[Span], stacks: Stacks) -> None:
        self.tokens = sum(span.length for span in spans)
        short: dict[Look, list[int]] = defaultdict(list)
        self._long: list[tuple[Look, slice]] = []
        begin = 0
        for look, length in spans:
            if look and length > SHORT:
                self._long.append((look, slice(begin, begin + length)))
            elif look:
                short[look] += range(begin, begin + length)
            begin += length
        self._looks = stacks.choose(list(short)) if short else ()
        self._depth = max(map(len, short.values()), default=0)
        device = sites[0].weight.device
        rows = [short.get(look, []) for look in self._looks]
        padded = [row + [0] * (self._depth - len(row)) for row in rows]
        worn = [place < len(row) for row in rows for place in range(self._depth)]
        # Where the columns of the matrix come from; which of them are meant; where they go to.
        self._sources = torch.tensor(padded, dtype=torch.long, device=device).flatten()
        self._meant = torch.tensor(worn, dtype=torch.bool).nonzero().squeeze(1).to(device)
        self._targets = self._sources[self._meant]
        self._last: tuple[Tensor, int, Tensor] | None = None
        self._hooks = ExitStack()
        with ExitStack() as stack:
            for site in sites:
                correct = self._hook(site, stacks)
                if correct is not None:
                    hook = site.module.register_forward_hook(correct, prepend=True)
                    stack.callback(hook.remove)
            self._hooks = stack.pop_all()

    def remove(self) -> None:
        """Take the hooks away; doing it again does nothing."""
        self._hooks.close()

    def _hook(self, site: Site, stacks: Stacks) -> Any:
        """Return the hook of a site; None where nothing is taken off."""
        stack = stacks.get(self._looks, site) if self._looks else None
        parts = [(stacks.get((look,), site), place) for look, place in self._long]
        alone = [(matrix, place) for matrix, place in parts if matrix is not None]
        if stack is None and not alone:
            return None
        if site.expert is not None or ".experts." in f".{site.name}.":
            raise PersonaError(
                f"site {site.name!r} is an expert, which sees tokens in an order of its own; wear "
                "the personas one after another"
            )

        def correct(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            tokens = inputs[0].reshape(-1, site.in_features)
            if len(tokens) != self.tokens:
                raise PersonaError(
                    f"the batch has {len(tokens)} tokens, but spans were given for {self.tokens}"
                )
            wide = torch.promote_types(output.dtype, torch.float32)
            result, tokens = output.reshape(-1, site.out_features).to(wide), tokens.to(wide)
            if stack is not None:
                off = self._take_off(stack, inputs[0], tokens)
                result = result.index_add(0, self._targets, off, alpha=-1)
            for matrix, place in alone:
                result = result.clone() if result.data_ptr() == output.data_ptr() else result
                result[place] -= multiply(matrix, tokens[place].T).T
            return result.to(output.dtype).view(output.shape)

        return correct

    def _take_off(self, stack: Tensor, source: Tensor, tokens: Tensor) -> Tensor:
        """Return what short spans lose: [tokens that wear something, out]."""
        looks, depth = len(self._looks), self._depth
        # Sites that read the same input come behind each other: queries, keys and values.
        last = self._last
        if last is not None and last[0] is source and last[1] == source._version:
            columns = last[2]
        else:
            columns = tokens.index_select(0, self._sources).view(looks, depth, -1).transpose(1, 2)
            columns = columns.reshape(looks * tokens.shape[1], depth)
            self._last = source, source._version, columns
        product = multiply(stack, columns)
        off = product.view(looks, -1, depth).transpose(1, 2).reshape(looks * depth, -1)
        return off if len(self._meant) == len(off) else off.index_select(0, self._meant)


def _empty(like: Block) -> Block:
    """Return a block of a site's shape that takes nothing off."""
    none = like.lines[:0]
    return Block(like.starts * 0, none, none, like.base[:0], like.values[:0])
