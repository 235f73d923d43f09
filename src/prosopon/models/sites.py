"""Finding the weight matrices of a model that a mask may prune.

A site is the matrix of an ``nn.Linear``, of a GPT-2 style ``Conv1D`` (whose weight is stored
transposed) or of one expert of a fused 3-D parameter, the output head and the embeddings left
out. Everything downstream sees a site in one orientation, [out, in], whatever the module stores.
What cannot be masked safely is refused here, by name, and never skipped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from prosopon.errors import ModelError, SiteError
from prosopon.models import names as name_rules
from prosopon.models.experts import expert_matrices, is_fused
from prosopon.models.quantised import dequantised, is_quantised

if TYPE_CHECKING:
    from torch import nn

    from prosopon.models.expert_linear import ExpertLinear

_WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
}
_DTYPES = frozenset({"float64", "float32", "bfloat16", "float16"})


@dataclass(frozen=True, slots=True)
class Site:
    """One prunable weight matrix of a model.

    Attributes:
        name: Dotted name of the module in the model; of an expert that of the fused parameter,
            and the expert's number.
        module: The live module; of an expert a view, see :mod:`prosopon.models.experts`.
        transposed: True if the module stores the weight as [in, out] (``Conv1D``).
        out_features: Rows of the canonical matrix.
        in_features: Columns of the canonical matrix.
        layer: Number of the decoder layer, None outside the layers.
        role: ``attention``, ``mlp`` or ``other``.
        expert: Number of the expert in a fused parameter; None for any other weight.
    """

    name: str
    module: nn.Module
    transposed: bool
    out_features: int
    in_features: int
    layer: int | None
    role: name_rules.Role
    expert: int | None = None

    @property
    def parameter(self) -> str:
        """Dotted name of the model's parameter that the weight is, or is a part of."""
        return f"{self.name}.weight" if self.expert is None else self.name.rpartition(".")[0]

    @property
    def slot(self) -> tuple[dict[str, nn.Parameter], str]:
        """Where a module keeps that parameter: its table, and the name in it."""
        if self.expert is not None:
            return cast("ExpertLinear", self.module).slot
        return cast("dict[str, nn.Parameter]", self.module._parameters), "weight"

    @property
    def weight(self) -> nn.Parameter:
        """The live parameter, in the layout and dtype the module stores."""
        return cast("nn.Parameter", self.module.weight)

    @property
    def quantised(self) -> bool:
        """Whether the weight is quantised, and cannot be written."""
        return is_quantised(self.module)

    @property
    def shape(self) -> tuple[int, int]:
        """(out_features, in_features)."""
        return self.out_features, self.in_features

    def matrix(self) -> torch.Tensor:
        """Return the weight as [out, in]: a detached view, so writing to it writes the model.

        Of a quantised weight it is a copy of what the layer multiplies by.
        """
        if self.quantised:
            return dequantised(self.module)
        return self.oriented(self.weight.detach())

    def oriented(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a view of ``tensor`` turned between the stored and the [out, in] layout.

        The same turn leads there and back, so it serves gradients (stored to canonical) and
        masks (canonical to stored) alike.
        """
        return tensor.T if self.transposed else tensor


def find_sites(
    model: nn.Module,
    *,
    targets: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    in_memory: bool = True,
    quantised: bool = False,
) -> list[Site]:
    """Return the sites of a model in module order.

    Args:
        model: A causal language model with its weights in memory.
        targets: Patterns of the sites wanted (see :func:`prosopon.models.names.select`);
            None means all of them. The head and the embeddings are left out even if matched.
        ignore: Patterns of the sites to leave dense.
        in_memory: Refuse sites on the meta device; False where weights are loaded later.
        quantised: Take layers of bitsandbytes and torchao, which can be read and not written.

    Returns:
        At least one site. Names are those of the plain model: a wrapper of torch.compile or of
        parallel training is looked into.

    Raises:
        SiteError: A pattern matches nothing; no site is left; a selected one cannot be masked:
            quantised or not in memory, experts fused in an unknown way, or sharing its memory
            with another parameter; or PEFT's adapters lie around the weights.
    """
    model = unwrap(model)
    candidates = dict(_candidates(model))
    heads = _heads(model, candidates)
    selected = name_rules.select(candidates, targets=targets, ignore=ignore)
    wanted = [name for name in selected if name not in heads]
    sites = [_site(name, candidates[name], in_memory, quantised) for name in wanted]
    if not sites:
        raise SiteError(_nothing_left(model, candidates, heads))
    _refuse_shared_memory(model, sites)
    return sites


def candidate_names(model: nn.Module) -> list[str]:
    """Return the names of all matrices that a pattern can mean, also of those that are refused."""
    return [name for name, _ in _candidates(unwrap(model))]


def unwrap(model: nn.Module) -> nn.Module:
    """Return the plain model inside wrappers of torch.compile and of parallel training.

    Raises:
        SiteError: PEFT's adapters lie around the weights.
    """
    while type(model).__name__ in _WRAPPERS:
        model = cast("nn.Module", getattr(model, _WRAPPERS[type(model).__name__]))
    for name, module in model.named_modules():
        if type(module).__module__.startswith("peft."):
            raise SiteError(
                f"{name or 'the model'} is PEFT's ({type(module).__name__}): a mask of its base "
                "fits no plain model; merge the adapter first (merge_and_unload()), or give the "
                "model without it"
            )
    return model


def check_finite(sites: Iterable[Site]) -> None:
    """Raise a ModelError where a weight is NaN or infinite; it names the first such site."""
    for site in sites:
        finite = torch.isfinite(site.matrix())
        if not finite.all():
            bad = finite.numel() - int(finite.sum())
            raise ModelError(
                f"site {site.name!r} has {bad} of {finite.numel()} weights that are NaN or "
                "infinite; the checkpoint is damaged or was saved in too narrow a dtype"
            )


def _candidates(model: nn.Module) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """Yield every matrix that a pattern can mean, also the ones that will be refused.

    Fused experts come one by one, or as their parameter where it is laid out in no known way; a
    module that occurs twice comes under both names.
    """
    for name, module in model.named_modules(remove_duplicate=False):
        # GPTQ and AWQ layers are no nn.Linear; they hold a packed "qweight".
        if isinstance(module, torch.nn.Linear) or _is_conv1d(module) or hasattr(module, "qweight"):
            yield name, module
        elif is_fused(module):
            for own, matrices in expert_matrices(module).items():
                for matrix in matrices:
                    yield f"{name}.{own}.{matrix.expert}", matrix
        elif "experts" in name:
            for own, parameter in module.named_parameters(recurse=False):
                if parameter.ndim >= 3:
                    yield f"{name}.{own}", parameter


def _is_conv1d(module: nn.Module) -> bool:
    """Recognise the GPT-2 style linear layer without importing transformers, which is slow."""
    return any(
        kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils"
        for kind in type(module).__mro__
    )


def _heads(model: nn.Module, candidates: Mapping[str, object]) -> set[str]:
    """Return the head and embeddings: by name, and the head also by what the model says it is."""
    output = getattr(model, "get_output_embeddings", lambda: None)()
    return {
        name
        for name, item in candidates.items()
        if item is output or name_rules.is_head_or_embedding(name)
    }


def _site(name: str, item: nn.Module | nn.Parameter, in_memory: bool, quantised: bool) -> Site:
    """Make a site of a candidate, or refuse it."""
    if isinstance(item, torch.nn.Parameter):
        raise SiteError(
            f"{name!r} holds fused experts (shape {list(item.shape)}), laid out in a way that is "
            "not supported yet; leave them dense with ignore=['*experts*'] (--ignore '*experts*')"
        )
    layer, role = name_rules.layer_index(name), name_rules.role(name)
    if quantised and is_quantised(item):
        linear = cast("nn.Linear", item)
        return Site(name, item, False, linear.out_features, linear.in_features, layer, role)
    _refuse_unusable(name, item, in_memory)
    weight = cast("nn.Parameter", item.weight)
    expert = cast("int | None", getattr(item, "expert", None))
    transposed = _is_conv1d(item) if expert is None else bool(item.transposed)
    out_features, in_features = weight.T.shape if transposed else weight.shape
    return Site(name, item, transposed, out_features, in_features, layer, role, expert)


def _refuse_unusable(name: str, module: nn.Module, in_memory: bool) -> None:
    """Refuse weights that are packed, quantised, computed on the fly or not in memory."""
    weight = getattr(module, "whole" if hasattr(module, "expert") else "weight", None)
    if not isinstance(weight, torch.Tensor) or hasattr(module, "qweight"):
        storage = f"packed by {type(module).__name__}"
    elif weight.is_meta and in_memory:
        raise SiteError(
            f"site {name!r} has no weights in memory (meta device): load the whole model, "
            "without offloading to CPU or disk"
        )
    elif (dtype := str(weight.dtype).removeprefix("torch.")) not in _DTYPES:
        storage = f"stored as {dtype}"
    elif type(weight) is not torch.nn.Parameter:  # bitsandbytes, torchao, DTensor, parametrisations
        storage = f"of the type {type(weight).__name__}"
    else:
        return
    worn = "; it can only wear masks of the unquantised model" if is_quantised(module) else ""
    raise SiteError(
        f"site {name!r} is quantised or not a plain weight ({storage}), which is not supported "
        f"yet{worn}; load the model in float32, bfloat16 or float16, or ignore the site"
    )


def _nothing_left(model: nn.Module, candidates: Iterable[str], heads: set[str]) -> str:
    """Say why no site is left."""
    kind = type(model).__name__
    if heads.issuperset(candidates):
        return f"{kind} has no prunable weight matrix (nn.Linear or Conv1D) besides its head"
    return f"the patterns leave no site of {kind}; its head and embeddings are never pruned"


def _refuse_shared_memory(model: nn.Module, sites: list[Site]) -> None:
    """Refuse a site whose memory another parameter uses too: a mask would change both."""
    names = {
        site.parameter: site.name if site.expert is None else f"{site.parameter}.*"
        for site in sites
    }
    last_device, last_end, last_name = "", 0, ""
    for device, start, end, name in sorted(_spans(model)):
        overlaps = device == last_device and start < last_end
        if overlaps and (name in names or last_name in names):
            # A site first; where both are sites, in the order of the alphabet.
            first, second = sorted(
                [name, last_name], key=lambda candidate: (candidate not in names, candidate)
            )
            ignored = " and ".join(
                repr(names[candidate]) for candidate in (first, second) if candidate in names
            )
            raise SiteError(
                f"{first!r} shares its memory with {second!r}, so a mask would change both; "
                f"ignore {ignored}"
            )
        if device != last_device or end > last_end:
            last_device, last_end, last_name = device, end, name


def _spans(model: nn.Module) -> Iterator[tuple[str, int, int, str]]:
    """Yield (device, first byte, end byte, name) of every parameter in memory.

    Compares bytes, not storages: a memory-mapped checkpoint is one storage for all tensors.
    """
    for name, tensor in model.named_parameters(remove_duplicate=False):
        if tensor.is_meta or not tensor.numel() or not tensor.data_ptr():  # torchao's have none
            continue
        steps = (
            (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        )
        start = tensor.data_ptr()
        yield str(tensor.device), start, start + (sum(steps) + 1) * tensor.element_size(), name
