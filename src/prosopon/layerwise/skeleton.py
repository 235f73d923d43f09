"""A causal language model whose weights stay on disk until one part of it is asked for."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from prosopon.errors import ModelError, OptionError, SiteError
from prosopon.layerwise.checkpoint import Checkpoint
from prosopon.lm.forward import trunk
from prosopon.models.checkpoints import load_config, load_tokenizer, one_line_errors
from prosopon.models.loading import _dtype, hub_keywords, resolve_device, resolve_source
from prosopon.models.memory import trim
from prosopon.models.sites import Site, find_sites

if TYPE_CHECKING:
    from torch import Tensor, nn


class Skeleton:
    """A model on the meta device, and the checkpoint that its parts are read from.

    Everything but the weights is there: the modules, their configuration, the buffers that are
    computed rather than stored. Make one with :func:`open_skeleton`.

    Attributes:
        model: A causal LM with its parameters on the meta device, in the dtype wanted.
        checkpoint: Its weights.
        device: Where loaded parts go.
        body: The part of the model below its head.
        layers: Its decoder layers, in order.

    Raises:
        ModelError: The model has not exactly one stack of layers; or, from the methods that load,
            the checkpoint lacks a parameter, or holds another shape or type.
    """

    def __init__(self, model: Any, checkpoint: Checkpoint, device: torch.device) -> None:
        self.model, self.checkpoint, self.device = model, checkpoint, device
        self.body = trunk(model)
        name, stack = decoder_stack(self.body)
        self.layers: list[nn.Module] = list(stack)
        inside = _name_of(model, self.body)
        self._body_prefix = f"{inside}." if inside else ""
        self._stack_prefix = f"{self._body_prefix}{name}."
        self._tied = _tied_names(model)
        # What a layer is emptied with: the parameters as they were built, without memory.
        self._empty = [dict(layer.named_parameters()) for layer in self.layers]

    def sites(
        self, *, targets: Sequence[str] | None = None, ignore: Sequence[str] = ()
    ) -> list[Site]:
        """Return the sites, as :func:`prosopon.models.find_sites` does; none has memory yet.

        Raises:
            SiteError: As there; also where a site's weight is tied to another parameter.
        """
        sites = find_sites(self.model, targets=targets, ignore=ignore, in_memory=False)
        for site in sites:
            if site.expert is not None:
                raise SiteError(
                    f"{site.parameter!r} holds fused experts, which are not supported layer by "
                    "layer yet; leave them dense with ignore=['*experts*'] (--ignore '*experts*')"
                )
            names = self._tied[f"{site.name}.weight"]
            if len(names) > 1:
                raise SiteError(
                    f"{names[0]!r} shares its memory with {names[1]!r}, so a mask would change "
                    f"both; ignore {site.name!r}"
                )
        return sites

    def layer_of(self, site: Site) -> int | None:
        """Return the decoder layer that a site lies in; None outside the stack."""
        if not site.name.startswith(self._stack_prefix):
            return None
        return int(site.name.removeprefix(self._stack_prefix).partition(".")[0])

    @contextmanager
    def loaded(self, site: Site) -> Iterator[Site]:
        """Hold one site's weight in memory, on the device, for the time of a ``with`` block."""
        empty = site.weight
        (value,) = self._read({f"{site.name}.weight": empty}).values()
        site.module.weight = torch.nn.Parameter(value, requires_grad=False)
        try:
            yield site
        finally:
            site.module.weight = empty
            trim()

    def load_outside(self, tokens: Tensor) -> None:
        """Load what the body has outside its layers; of the embedding only the rows of tokens."""
        embedding = self.model.get_input_embeddings()
        inside = self._stack_prefix.removeprefix(self._body_prefix)
        wanted = {
            name: tensor
            for name, tensor in self.body.state_dict(keep_vars=True).items()
            if not name.startswith(inside) and tensor is not embedding.weight
        }
        self._assign(self.body, self._body_prefix, wanted)
        for name, module in self.body.named_modules():
            if not f"{name}.".startswith(inside):
                for own, buffer in module.named_buffers(recurse=False):
                    setattr(module, own, buffer.to(self.device))
        self._embed_rows(embedding, tokens)

    @contextmanager
    def layer(self, number: int) -> Iterator[nn.Module]:
        """Hold one decoder layer in memory for the time of a ``with`` block."""
        layer = self.layers[number]
        self._assign(layer, f"{self._stack_prefix}{number}.", layer.state_dict(keep_vars=True))
        try:
            yield layer.to(self.device)
        finally:
            layer.load_state_dict(self._empty[number], strict=False, assign=True)
            trim()

    def _embed_rows(self, embedding: Any, tokens: Tensor) -> None:
        """Give the embedding the rows of ``tokens`` only, and let it look them up there."""
        rows = torch.unique(tokens)
        name = f"{_name_of(self.model, embedding)}.weight"
        lookup = torch.zeros(embedding.weight.shape[0], dtype=torch.int64)
        lookup[rows] = torch.arange(len(rows))
        lookup = lookup.to(self.device)
        values = self.checkpoint.rows(self._key(name), rows)
        values = values.to(self.device, embedding.weight.dtype)
        embedding.weight = torch.nn.Parameter(values, requires_grad=False)
        embedding.padding_idx = None  # counts in whole rows, and only matters for gradients
        embedding.register_forward_pre_hook(lambda _module, args: (lookup[args[0]], *args[1:]))

    def _assign(self, module: nn.Module, prefix: str, wanted: dict[str, Tensor]) -> None:
        """Read what ``wanted`` names, below ``prefix``, and put it into ``module``."""
        full = {prefix + name: tensor for name, tensor in wanted.items()}
        read = self._read(full)
        state = {name.removeprefix(prefix): tensor for name, tensor in read.items()}
        module.load_state_dict(state, strict=False, assign=True)

    def _read(self, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors by full name with the dtype that the model gave them, on the device."""
        stored = {}
        for name, tensor in wanted.items():
            # A buffer that the checkpoint lacks keeps the value it was built with.
            if isinstance(tensor, torch.nn.Parameter) or self._weight_name(name) is not None:
                stored[name] = self._key(name)
        values = self.checkpoint.read(dict.fromkeys(stored.values()))
        return {name: self._fit(name, values[key], wanted[name]) for name, key in stored.items()}

    def _fit(self, name: str, value: Tensor, like: Tensor) -> Tensor:
        """Check shape and type of a stored tensor and turn it into the model's dtype."""
        if value.shape != like.shape:
            raise ModelError(
                f"{self.checkpoint.folder}: {name!r} has the shape {list(value.shape)} in the "
                f"checkpoint and {list(like.shape)} in the model"
            )
        if like.is_floating_point() and (not value.is_floating_point() or value.element_size() < 2):
            kind = str(value.dtype).removeprefix("torch.")
            raise ModelError(
                f"{self.checkpoint.folder}: {name!r} is quantised ({kind}), which is not "
                "supported yet; give a checkpoint in float32, bfloat16 or float16"
            )
        return value.to(self.device, like.dtype)

    def _key(self, name: str) -> str:
        """Return the name under which the checkpoint holds a parameter."""
        if (key := self._weight_name(name)) is not None:
            return key
        raise ModelError(
            f"{self.checkpoint.folder}: the checkpoint lacks {name!r}; where the model loads "
            "whole, load it and save_pretrained() it, which writes the names it has now"
        )

    def _weight_name(self, name: str) -> str | None:
        """Try the name, its tied names, and each without and with the base model's prefix."""
        base = f"{getattr(self.model, 'base_model_prefix', '')}."
        keys = (
            key
            for alias in self._tied.get(name, (name,))
            for key in (alias, alias.removeprefix(base), base + alias)
        )
        return next((key for key in keys if key in self.checkpoint), None)


def open_skeleton(
    name: str | os.PathLike[str],
    *,
    device: str = "cpu",
    dtype: str = "auto",
    revision: str | None = None,
) -> tuple[Skeleton, Any]:
    """Build a model without its weights, and load its tokenizer.

    Args:
        name: ``embedded``, a folder with safetensors files, or a Hub id, whose files are
            downloaded to the Hub's cache first.
        device: Where parts go when they are loaded; see :func:`prosopon.models.resolve_device`.
        dtype: ``auto`` (as the checkpoint says), ``float32``, ``bfloat16`` or ``float16``.
        revision: Branch, tag or commit of a Hub model.

    Returns:
        The skeleton and the tokenizer.

    Raises:
        ModelError: There is no such model, it is quantised, its files are damaged or not
            safetensors, or it has not exactly one stack of layers.
        OptionError: An option is unknown, or accelerate is missing.
    """
    if find_spec("accelerate") is None:
        raise OptionError("layer by layer needs accelerate: pip install 'prosopon[accelerate]'")
    name = os.fspath(name)
    place, wanted = resolve_device(device), _dtype(dtype)
    source = resolve_source(name, revision=revision, dtype=dtype)
    keywords = hub_keywords(source, revision)
    config = load_config(name, source, **keywords)
    if getattr(config, "quantization_config", None) is not None:
        raise ModelError(f"model {name!r} is quantised, which is not supported yet")
    tokenizer = load_tokenizer(name, source, **keywords)
    # Older versions of transformers say which commit the configuration came from.
    commit = getattr(config, "_commit_hash", None) or revision
    checkpoint = Checkpoint(_folder(name, source, commit))
    if not isinstance(wanted, torch.dtype):
        wanted = getattr(config, "dtype", None) or checkpoint.dtype()
    model = _without_weights(name, source, config, cast(torch.dtype, wanted))
    return Skeleton(model, checkpoint, place), tokenizer


def decoder_stack(body: nn.Module) -> tuple[str, nn.ModuleList]:
    """Return name and module of the one list of layers that a model's body is made of.

    Found by structure: the ``nn.ModuleList`` that holds parameters and lies in no other one.

    Raises:
        ModelError: There is none, or more than one.
    """
    stacks: dict[str, nn.ModuleList] = {}
    for name, module in body.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or next(module.parameters(), None) is None:
            continue
        if not any(f"{name}.".startswith(f"{outer}.") for outer in stacks):
            stacks[name] = module
    if len(stacks) != 1:
        listed = ", ".join(stacks) or "none"
        raise ModelError(
            f"{type(body).__name__} cannot be read layer by layer: it needs exactly one stack of "
            f"layers and has {listed}"
        )
    return next(iter(stacks.items()))


def _folder(name: str, source: str, revision: str | None) -> Path:
    """Return the folder of the weights; a Hub model is downloaded to the cache."""
    if Path(source).is_dir():
        return Path(source)
    with one_line_errors(name, source, "its weights"):
        from huggingface_hub import snapshot_download

        patterns = ["*.safetensors", "*.safetensors.index.json"]
        cached = "local_files_only" in hub_keywords(source, revision)
        folder = snapshot_download(
            source, revision=revision, allow_patterns=patterns, local_files_only=cached
        )
        return Path(folder)


def _without_weights(name: str, source: str, config: Any, dtype: torch.dtype) -> Any:
    with one_line_errors(name, source, "its architecture"):
        from accelerate import init_empty_weights
        from transformers import AutoModelForCausalLM

        # Buffers that no checkpoint stores (rotary frequencies) are computed by the constructor.
        with init_empty_weights(include_buffers=False):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    # transformers would keep some parameters in 32 bits of its own accord.
    narrow = dtype in (torch.bfloat16, torch.float16)
    for attribute in ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict") if narrow else ():
        for part in getattr(model, attribute, None) or ():
            if any(part in parameter for parameter, _ in model.named_parameters()):
                raise ModelError(
                    f"model {name!r} keeps {part!r} in float32, which is not supported layer by "
                    "layer yet; give --dtype float32"
                )
    return model.eval().requires_grad_(False)


def _tied_names(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return, for every parameter, all the names it has, its own first."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    return {
        name: (name, *(other for other in group if other != name))
        for group in names.values()
        for name in group
    }


def _name_of(model: nn.Module, wanted: nn.Module) -> str:
    names = {id(module): name for name, module in model.named_modules()}
    return str(names[id(wanted)])
