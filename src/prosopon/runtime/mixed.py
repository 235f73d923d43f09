"""Mixed batches: every row of a batch wears a look of its own.

The weights stay those of the base. A site computes all rows at once, and then the looks'
difference to it is taken off again, row by row:

    y_r = W x_r - D_r x_r,    D_r = W - (W gated by the look of row r), which is sparse

All rows of a site are one sparse product: the D of the looks stand on the diagonal of one matrix
in compressed rows, and the inputs of their rows stand below each other. An expert of a fused
parameter reads some tokens of the batch; its rows are told by the tokens' places in the batch.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from prosopon.errors import PersonaError
from prosopon.models import Site
from prosopon.models.expert_linear import ExpertLinear
from prosopon.models.experts import apart
from prosopon.runtime.activation import Activation
from prosopon.runtime.blocks import FAST_VECTOR, Blocks, diagonal, multiply
from prosopon.runtime.looks import Look, Wearable

T = TypeVar("T", bound=Hashable)


class RowGroup(NamedTuple):
    """Looks that as many rows wear."""

    rows: Tensor  # int64 [looks * copies]: the rows, those of one look beside each other
    copies: int  # rows of each look
    matrix: Tensor  # sparse [looks * out, looks * in]
    whole: bool  # whether the rows are all rows of the batch in their order


class MixedBatch:
    """The hooks that give every row its look while they are there; weights stay the base's.

    For ``copies`` see :meth:`prosopon.runtime.PersonaModel.mixed`. A look that prunes an expert
    that is a module of its own, whose tokens do not say which row they are of, is a PersonaError.
    ``activation`` says in which tokens the looks are worn; None is in all.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        rows: Sequence[Look],
        copies: int | None,
        blocks: Blocks,
        model: nn.Module | None = None,
        activation: Activation | None = None,
    ) -> None:
        self.rows, self.copies, self._activation = len(rows), copies, activation
        self._hooks = ExitStack()
        prepared = [(site, _groups(site, rows, blocks)) for site in sites]
        for site, groups in prepared:
            if (
                model is not None
                and groups
                and site.expert is None
                and ".experts." in f".{site.name}."
            ):
                raise PersonaError(
                    f"site {site.name!r} is an expert, which does not see rows of a batch; wear "
                    "the personas one after another"
                )
        with ExitStack() as stack:
            if model is not None:  # tokens of an expert do not say how many rows there are
                check = model.register_forward_pre_hook(self._check_model, with_kwargs=True)
                stack.callback(check.remove)
            if activation is not None:
                stack.enter_context(activation)
            stack.enter_context(apart(site.module for site, groups in prepared if groups))
            for site, groups in prepared:
                if groups:
                    # First among the hooks, so that those of others see the rows' outputs.
                    hook = site.module.register_forward_hook(self._hook(site, groups), prepend=True)
                    stack.callback(hook.remove)
            self._hooks = stack.pop_all()

    def remove(self) -> None:
        """Take the hooks away; doing it again does nothing."""
        self._hooks.close()

    def _hook(
        self, site: Site, groups: Sequence[RowGroup]
    ) -> Callable[[nn.Module, tuple[Any, ...], Any], Tensor]:
        if isinstance(site.module, ExpertLinear):
            return self._expert_hook(groups)
        plain = _plain(groups)

        def take_off(tokens: Tensor, output: Tensor) -> Tensor:
            if (
                plain is not None
                and tokens.numel() == plain.shape[1]
                and tokens.dtype == output.dtype == plain.dtype
            ):
                return output - plain.mv(tokens.reshape(-1)).view(output.shape)
            # A batch that was flattened to tokens (OPT) has the tokens of a row side by side.
            folded = tokens.reshape(self.rows, -1, site.in_features)
            result = output.reshape(self.rows, -1, site.out_features)
            wide = result.to(torch.promote_types(result.dtype, torch.float32))
            for group in groups:
                off = _correction(folded, group)
                wide = wide - off if group.whole else wide.index_add(0, group.rows, off, alpha=-1)
            corrected: Tensor = wide.to(output.dtype).view(output.shape)
            return corrected

        def correct(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Tensor:
            self._check(inputs[0])
            if self._activation is None:
                return take_off(inputs[0], output)
            return self._activation.apply(inputs[0], output, take_off)

        return correct

    def _expert_hook(
        self, groups: Sequence[RowGroup]
    ) -> Callable[[nn.Module, tuple[Any, ...], Any], Tensor]:
        def correct(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Tensor:
            tokens, total = cast(ExpertLinear, module).routed
            rows = tokens // (total // self.rows)
            wide = output.to(torch.promote_types(output.dtype, torch.float32))
            for group in groups:
                ours = torch.isin(rows, group.rows)
                if self._activation is not None:
                    ours &= self._activation.worn.flatten()[tokens]
                ours = ours.nonzero().squeeze(1)
                off = (group.matrix @ inputs[0][ours].to(group.matrix.dtype).T).T
                wide = wide.index_add(0, ours, off, alpha=-1)
            return cast(Tensor, wide.to(output.dtype))

        return correct

    def _check_model(
        self, _module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        """Do the same where the model is called."""
        first = args[0] if args else named.get("input_ids")
        batch = named.get("inputs_embeds") if first is None else first
        if isinstance(batch, Tensor):
            self._check(batch.view(*batch.shape[:2], -1))

    def _check(self, batch: Tensor) -> None:
        """Refuse a batch whose rows are not the ones that the looks were given for."""
        tokens = batch.numel() // batch.shape[-1]
        whole = self.rows * (self.copies or 1)
        if batch.ndim > 2 and self.copies is not None:
            fits = batch.shape[0] == whole
        else:  # any number of copies, or a batch that was flattened to tokens
            fits = (batch.shape[0] if batch.ndim > 2 else tokens) % whole == 0
        if not fits:
            raise wrong_rows(batch.shape[0], self.rows, self.copies or 1)


def wrong_rows(batch: int, personas: int, copies: int = 1) -> PersonaError:
    """Say that a batch does not have the rows that personas were given for."""
    rows = f", {copies} rows each" if copies > 1 else ""
    return PersonaError(
        f"the batch has {batch} rows, but personas were given for {personas}{rows}; give one "
        "persona (or None) a row"
    )


def check_rows(
    personas: Sequence[Wearable], args: Sequence[Any], options: Mapping[str, Any]
) -> None:
    """Refuse a batch that has another number of rows than personas were given for."""
    named = (options.get(name) for name in ("inputs", "input_ids", "inputs_embeds"))
    batch = next((value for value in (*args[:1], *named) if isinstance(value, Tensor)), None)
    if batch is not None and len(batch) != len(personas):
        raise wrong_rows(len(batch), len(personas))


def _plain(groups: Sequence[RowGroup]) -> Tensor | None:
    """Return the one matrix that serves where every row has one token and a look of its own.

    That is so in most steps of decoding, and then nothing has to be rearranged.
    """
    first = groups[0]
    if len(groups) > 1 or not first.whole or first.copies > 1:
        return None
    return first.matrix if FAST_VECTOR or first.matrix.is_cuda else None


def _correction(folded: Tensor, group: RowGroup) -> Tensor:
    """Return D x, [group's rows, tokens, out], of inputs [rows, tokens, in]."""
    tokens, width = folded.shape[1:]
    looks = len(group.rows) // group.copies
    picked = folded if group.whole else folded.index_select(0, group.rows)
    picked = picked.to(group.matrix.dtype)
    columns = picked.reshape(looks, -1, width).transpose(1, 2).reshape(looks * width, -1)
    product = multiply(group.matrix, columns)
    turned = product.view(looks, -1, group.copies * tokens).transpose(1, 2)
    return turned.reshape(len(group.rows), tokens, -1)


def _groups(site: Site, rows: Sequence[Look], blocks: Blocks) -> list[RowGroup]:
    """Group the rows of one site by their looks, and the looks by their number of rows."""
    named = {look: blocks.get(look, site) for look in dict.fromkeys(rows) if look}
    differences = {look: block for look, block in named.items() if block is not None}
    dressed = {look: numbers for look, numbers in _places(rows).items() if look in differences}
    alike: dict[Hashable, list[Look]] = defaultdict(list)
    for look, numbers in dressed.items():
        # Of every row another number of tokens comes to an expert.
        alike[len(numbers) if site.expert is None else look].append(look)
    groups = []
    for looks in alike.values():
        places = [number for look in looks for number in dressed[look]]
        matrix = diagonal(site, [differences[look] for look in looks])
        whole = places == list(range(len(rows)))
        where = torch.tensor(places, device=site.weight.device)
        groups.append(RowGroup(where, len(places) // len(looks), matrix, whole))
    return groups


def _places(items: Sequence[T]) -> dict[T, list[int]]:
    """Return where each thing occurs."""
    places: dict[T, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        places[item].append(place)
    return dict(places)
