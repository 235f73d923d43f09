"""Mixed batches: every row of a batch wears a look of its own.

The weights stay those of the base. A site computes all rows at once, and then the looks'
difference to it is taken off again, row by row:

    y_r = W x_r - D_r x_r,    D_r = W - (W gated by the look of row r), which is sparse

All rows of a site are one sparse product: the D of the looks stand on the diagonal of one matrix
in compressed rows, and the inputs of their rows stand below each other.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from prosopon.errors import PersonaError
from prosopon.models import Site
from prosopon.runtime.gating import Gating, gated
from prosopon.runtime.looks import Look

_MKL = bool(torch.backends.mkl.is_available())  # type: ignore[no-untyped-call]
Gatings = Callable[[Look, Site], Gating | None]
T = TypeVar("T", bound=Hashable)


class Block(NamedTuple):
    """The difference D [out, in] of one look at one site, in compressed rows.

    Attributes:
        starts: Int64 [out + 1]: where each row begins.
        columns: Int64 [n].
        values: [n], in the dtype of the weights, but at least float32.
    """

    starts: Tensor
    columns: Tensor
    values: Tensor


class Group(NamedTuple):
    """Looks that as many rows wear.

    Attributes:
        rows: Int64 [looks * copies]: the rows, those of one look beside each other.
        copies: Rows of each look.
        matrix: Sparse [looks * out, looks * in].
    """

    rows: Tensor
    copies: int
    matrix: Tensor


class MixedBatch:
    """The hooks that give every row its look while they are there.

    Args:
        sites: The sites, whose weights are the base's and stay so.
        rows: The look of every row; an empty one for the base.
        copies: How many rows of a batch stand for each of these, beside each other, as the
            beams of a generation do.
        gatings: What a look does to a site.

    Raises:
        PersonaError: A look prunes an expert, whose inputs are no longer rows of the batch.
    """

    def __init__(
        self, sites: Sequence[Site], rows: Sequence[Look], copies: int, gatings: Gatings
    ) -> None:
        self.rows, self.copies = len(rows), copies
        self._hooks: list[Any] = []
        prepared = [(site, _groups(site, rows, gatings)) for site in sites]
        for site, groups in prepared:
            if groups and ".experts." in f".{site.name}.":
                raise PersonaError(
                    f"site {site.name!r} is an expert, which does not see rows of a batch; wear "
                    "the personas one after another"
                )
        try:
            for site, groups in prepared:
                if groups:
                    # First among the hooks, so that those of others see the rows' outputs.
                    hook = site.module.register_forward_hook(self._hook(site, groups), prepend=True)
                    self._hooks.append(hook)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Take the hooks away; doing it again does nothing."""
        while self._hooks:
            self._hooks.pop().remove()

    def _hook(
        self, site: Site, groups: Sequence[Group]
    ) -> Callable[[nn.Module, tuple[Any, ...], Any], Tensor]:
        def correct(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Tensor:
            given: Tensor = inputs[0]
            self._check(given)
            # A batch that was flattened to tokens (OPT) has the tokens of a row side by side.
            folded = given.reshape(self.rows, -1, site.in_features)
            result = output.reshape(self.rows, -1, site.out_features)
            wide = result.to(torch.promote_types(result.dtype, torch.float32))
            for group in groups:
                wide = wide.index_add(0, group.rows, _correction(folded, group), alpha=-1)
            corrected: Tensor = wide.to(output.dtype).reshape(output.shape)
            return corrected

        return correct

    def _check(self, given: Tensor) -> None:
        """Refuse a batch whose rows are not the ones that the looks were given for."""
        expected = self.rows * self.copies
        tokens = given.numel() // given.shape[-1]
        fits = given.shape[0] == expected if given.ndim > 2 else tokens % expected == 0
        if not fits:
            each = f", {self.copies} rows each" if self.copies > 1 else ""
            raise PersonaError(
                f"the batch has {given.shape[0]} rows, but personas were given for {self.rows}"
                f"{each}; give one persona (or None) a row"
            )


def _correction(folded: Tensor, group: Group) -> Tensor:
    """Return D x of a group's rows.

    Args:
        folded: Inputs [rows, tokens, in].
        group: The group.

    Returns:
        [group's rows, tokens, out] in the dtype of the group's matrix.
    """
    tokens, width = folded.shape[1:]
    looks = len(group.rows) // group.copies
    picked = folded.index_select(0, group.rows).to(group.matrix.dtype)
    if tokens * group.copies == 1:
        return _times(group.matrix, picked.view(-1, 1)).view(looks, 1, -1)
    columns = picked.view(looks, -1, width).transpose(1, 2).reshape(looks * width, -1)
    product = _times(group.matrix, columns)
    turned = product.view(looks, -1, group.copies * tokens).transpose(1, 2)
    return turned.reshape(len(group.rows), tokens, -1)


def _times(matrix: Tensor, columns: Tensor) -> Tensor:
    """Multiply a sparse matrix by dense columns."""
    if columns.shape[1] == 1 and (_MKL or matrix.is_cuda):
        return torch.mv(matrix, columns.squeeze(1)).unsqueeze(1)  # several times faster
    return matrix @ columns


def _groups(site: Site, rows: Sequence[Look], gatings: Gatings) -> list[Group]:
    """Group the rows of one site by their looks, and the looks by their number of rows."""
    blocks: dict[Look, Block] = {}
    for look in dict.fromkeys(rows):
        gating = gatings(look, site) if look else None
        if gating is not None and len(gating):
            blocks[look] = block(site, gating)
    dressed = {look: numbers for look, numbers in _places(rows).items() if look in blocks}
    groups = []
    for copies, looks in _places([len(numbers) for numbers in dressed.values()]).items():
        chosen = [list(dressed)[place] for place in looks]
        places = [number for look in chosen for number in dressed[look]]
        rows_tensor = torch.tensor(places, device=site.weight.device)
        groups.append(Group(rows_tensor, copies, diagonal(site, [blocks[c] for c in chosen])))
    return groups


def _places(items: Sequence[T]) -> dict[T, list[int]]:
    """Return where each thing occurs."""
    found: dict[T, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        found[item].append(place)
    return dict(found)


def block(site: Site, gating: Gating) -> Block:
    """Return what a gating takes off a site's weights, which must be the base's."""
    indices = gating.indices()
    lines, columns = indices // site.in_features, indices % site.in_features
    weights = site.matrix()[lines, columns]
    wide = torch.promote_types(weights.dtype, torch.float32)
    values = weights.to(wide) - gated(weights, gating.gates).to(wide)
    counts = torch.bincount(lines, minlength=site.out_features)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Block(starts, columns, values)


def diagonal(site: Site, blocks: Sequence[Block]) -> Tensor:
    """Put blocks on the diagonal of one matrix in compressed rows.

    Its numbers are int32, as the libraries want them; int64 ones they would convert each time.
    """
    starts, columns, before = [blocks[0].starts[:1]], [], 0
    for place, each in enumerate(blocks):
        starts.append(each.starts[1:] + before)
        columns.append(each.columns + place * site.in_features)
        before += len(each.columns)
    shape = len(blocks) * site.out_features, len(blocks) * site.in_features
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "Sparse CSR tensor support is in beta"
        return torch.sparse_csr_tensor(
            torch.cat(starts).int(),
            torch.cat(columns).int(),
            torch.cat([each.values for each in blocks]),
            shape,
            check_invariants=False,
        )
