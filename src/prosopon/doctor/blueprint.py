"""What a model is made of, from its configuration and the headers of its files alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prosopon.doctor.headers import StoredTensor, gguf_header, safetensors_header
from prosopon.errors import ModelError, OptionError
from prosopon.hub import reason, unreachable
from prosopon.lm.context import context_length
from prosopon.models.gguf import gguf_file
from prosopon.models.loading import DTYPES, SMOLLM2, SMOLLM2_HUB, local_source
from prosopon.models.names import Role, is_head_or_embedding, layer_index, role

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}
"""Bytes of a number by the name of its type."""

CONFIG, SINGLE = "config.json", "model.safetensors"
INDEX = "model.safetensors.index.json"

_FLOATS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}
# Where families put the same number.
_FIELDS = {
    "hidden": ("hidden_size", "n_embd", "d_model", "embedding_length"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "block_count"),
    "heads": ("num_attention_heads", "n_head", "num_heads", "attention.head_count"),
    "kv_heads": ("num_key_value_heads", "attention.head_count_kv"),
    "head_dim": ("head_dim", "attention.key_length"),
    "context": ("context_length",),
}
# Store weights, or those of experts, as [in, out].
_TRANSPOSED = frozenset({"gpt2", "openai-gpt", "imagegpt"})
_TRANSPOSED_EXPERTS = frozenset({"gpt_oss"})
_ROUTERS = ("mlp.gate", "block_sparse_moe.gate", "router")  # choose experts, and are no sites
# The names that GGUF files give to what transformers calls otherwise.
_GGUF = {
    "blk": "layers", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_qkv": "self_attn.qkv",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "ffn_gate_exps": "mlp.experts.gate_proj", "ffn_up_exps": "mlp.experts.up_proj",
    "ffn_down_exps": "mlp.experts.down_proj", "token_embd": "embed_tokens", "output": "lm_head",
}  # fmt: skip


@dataclass(frozen=True)
class Matrix:
    """A weight matrix that a mask may prune: a site of the model that is not loaded.

    Attributes:
        name: Its name, without ``.weight``.
        rows: Output features.
        columns: Input features.
        count: How many of this shape lie in it: the experts of a fused tensor, else 1.
    """

    name: str
    rows: int
    columns: int
    count: int = 1

    @property
    def weights(self) -> int:
        """How many weights it has."""
        return self.rows * self.columns * self.count

    @property
    def role(self) -> Role:
        """What it is part of."""
        return role(self.name)


@dataclass(frozen=True)
class Blueprint:
    """What a model is made of.

    Attributes:
        name: What it was asked by.
        place: The file, folder or Hub id that it is in.
        family: Its model type.
        tensors: Every tensor of its files.
        sites: The matrices that a mask may prune, in the order of the files.
        config: Its configuration, of a GGUF file the fields that say the same.
        dtype: The type it is loaded in where none is asked for.
        quantised: How its weights are packed, or None.
        converts: Bytes of the copy that a GGUF file is converted to when it is loaded first.
    """

    name: str
    place: str
    family: str
    tensors: tuple[StoredTensor, ...]
    sites: tuple[Matrix, ...]
    config: Mapping[str, Any]
    dtype: str
    quantised: str | None = None
    converts: int = 0

    @property
    def parameters(self) -> int:
        """How many numbers there are, those outside the sites too."""
        return sum(tensor.numbers for tensor in self.tensors)

    @property
    def site_weights(self) -> int:
        """How many weights a mask may prune."""
        return sum(site.weights for site in self.sites)

    @property
    def stored(self) -> dict[str, int]:
        """The files' bytes by type."""
        sizes: Counter[str] = Counter()
        for tensor in self.tensors:
            sizes[tensor.dtype] += tensor.nbytes
        return dict(sizes.most_common())

    def weights_bytes(self, dtype: str) -> int:
        """Return what the weights take in memory; packed ones stay packed."""
        if self.quantised is not None:
            return sum(tensor.nbytes for tensor in self.tensors)
        return self.parameters * BYTES[dtype]

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        rows = [t.shape[0] for t in self.tensors if len(t.shape) == 2 and _is_end(t.name)]
        return int(self.config.get("vocab_size") or max(rows, default=0))

    @property
    def context(self) -> int | None:
        """The most tokens that it reads, or None where nothing says."""
        own = context_length(SimpleNamespace(config=SimpleNamespace(**self.config)))
        return own or self.number("context") or None

    def number(self, what: str) -> int:
        """Return a number of the configuration, whatever the family calls it; 0: it does not say.

        Args:
            what: ``hidden``, ``layers``, ``heads``, ``kv_heads``, ``head_dim`` or ``context``.
        """
        for name in _FIELDS[what]:
            value = self.config.get(name)
            if isinstance(value, int) and value > 0:
                return value
        if what == "kv_heads":
            return self.number("heads")
        if what == "head_dim":
            return self.number("hidden") // max(1, self.number("heads"))
        return 0


def read_blueprint(
    name: str, *, revision: str | None = None, dtype: str = "auto", online: bool = False
) -> Blueprint:
    """Read what a model is made of; no tensor is read.

    Args:
        name: As :func:`prosopon.models.load_model` takes it.
        revision: Branch, tag or commit of a Hub model.
        dtype: As it would be loaded.
        online: Whether the Hub may be asked for the configuration and the headers, some
            kilobytes, where its cache does not hold the model.

    Raises:
        ModelError: There is no such model, its headers are damaged, or it has no safetensors.
        OptionError: There is no such dtype.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise OptionError(f"unknown dtype {dtype!r}. Choices: auto, {', '.join(DTYPES)}")
    place = local_source(name)
    if place is None:
        hub = SMOLLM2_HUB if name == SMOLLM2 else name
        config, tensors = _from_hub(name, hub, revision, online)
        return _of_checkpoint(name, hub, config, tensors)
    if revision is not None:
        raise OptionError(f"model {name!r} is a {_kind(place)}, which has no revisions")
    file = gguf_file(place)
    if file is not None:
        return _of_gguf(name, file, "float32" if dtype == "auto" else dtype)
    return _of_checkpoint(name, str(place), _json(place / CONFIG), _folder_tensors(name, place))


def _kind(place: Path) -> str:
    return "folder" if place.is_dir() else "file"


def _of_checkpoint(
    name: str, place: str, config: Mapping[str, Any], tensors: Sequence[StoredTensor]
) -> Blueprint:
    inner = config.get("text_config")
    inner = {**config, **inner} if isinstance(inner, dict) else config
    family = str(inner.get("model_type") or config.get("model_type") or "unknown")
    packed = config.get("quantization_config")
    quantised = str(packed.get("quant_method", "packed")) if isinstance(packed, dict) else None
    stated = str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")
    first = next((_FLOATS[t.dtype] for t in tensors if t.dtype in _FLOATS), "float32")
    return Blueprint(
        name, place, family, tuple(tensors), tuple(_sites(tensors, family)), inner,
        stated if stated in BYTES else first, quantised,
    )  # fmt: skip


def _of_gguf(name: str, file: Path, dtype: str) -> Blueprint:
    fields, stored = gguf_header(file)
    family = str(fields.get("general.architecture", "unknown"))
    config = {key.removeprefix(f"{family}."): value for key, value in fields.items()}
    tensors = tuple(StoredTensor(_plain_name(t.name), t.shape, t.dtype, t.nbytes) for t in stored)
    size = sum(tensor.numbers for tensor in tensors) * BYTES[dtype]
    return Blueprint(
        name, str(file), family, tensors, tuple(_sites(tensors, family)), config, dtype, None, size
    )


def _plain_name(name: str) -> str:
    """Return what transformers would call a tensor of a GGUF file, near enough to tell its role."""
    return ".".join(_GGUF.get(part, part) for part in name.split("."))


def _sites(tensors: Sequence[StoredTensor], family: str) -> list[Matrix]:
    """Return the matrices that a mask may prune, told by name and shape."""
    sites = []
    for tensor in tensors:
        name, shape = tensor.name.removesuffix(".weight"), tensor.shape
        if _is_end(tensor.name) or name.endswith(_ROUTERS):
            continue
        if len(shape) == 2 and name != tensor.name:
            rows, columns = shape[::-1] if family in _TRANSPOSED else shape
            sites.append(Matrix(name, rows, columns))
        elif len(shape) == 3 and "experts" in name:
            rows, columns = shape[:0:-1] if family in _TRANSPOSED_EXPERTS else shape[1:]
            sites.append(Matrix(name, rows, columns, shape[0]))
    return sites


def _is_end(name: str) -> bool:
    """Tell whether a tensor is the head or an embedding."""
    return is_head_or_embedding(name.removesuffix(".weight"))


def _folder_tensors(name: str, folder: Path) -> list[StoredTensor]:
    if (folder / INDEX).is_file():
        shards = sorted(set(_json(folder / INDEX).get("weight_map", {}).values()))
        missing = next((s for s in shards if not (folder / s).is_file()), None)
        if missing is not None:
            raise ModelError(f"model {name!r}: {folder / missing} is missing")
        return [tensor for shard in shards for tensor in safetensors_header(folder / shard)]
    if (folder / SINGLE).is_file():
        return safetensors_header(folder / SINGLE)
    raise ModelError(
        f"model {name!r}: no plan without safetensors files, whose headers say what it is made of "
        f"({folder} has none): load it and save_pretrained() it"
    )


def _from_hub(
    name: str, hub: str, revision: str | None, online: bool
) -> tuple[dict[str, Any], list[StoredTensor]]:
    """Return configuration and tensors of a Hub model: from its cache, else asked for."""
    from huggingface_hub import (
        get_safetensors_metadata,
        hf_hub_download,
        try_to_load_from_cache,
    )

    cached = try_to_load_from_cache(hub, CONFIG, revision=revision)
    if isinstance(cached, str):
        folder = Path(cached).parent
        if (folder / INDEX).is_file() or (folder / SINGLE).is_file():
            return _json(folder / CONFIG), _folder_tensors(name, folder)
    if not online:
        raise ModelError(
            f"model {name!r} is no folder and not in the Hub's cache: give --online, and its "
            "configuration and headers are read from the Hub, no weights"
        )
    if (why := unreachable()) is not None:
        raise ModelError(f"model {name!r}: the Hugging Face Hub cannot be reached ({why})")
    try:
        config = _json(Path(hf_hub_download(hub, CONFIG, revision=revision)))
        files = get_safetensors_metadata(hub, revision=revision).files_metadata
    except ModelError:
        raise
    except Exception as error:  # whatever the library's version raises
        raise ModelError(f"model {name!r}: {reason(error)}") from error
    return config, [
        StoredTensor(
            tensor, tuple(info.shape), info.dtype, info.data_offsets[1] - info.data_offsets[0]
        )
        for file in files.values()
        for tensor, info in file.tensors.items()
    ]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path}: is no JSON object")
    return value


def by_kind(sites: Sequence[Matrix]) -> list[tuple[str, Role, int, int, int]]:
    """Return (name in the layer, role, how many, weights, widest input) of the kinds of sites."""
    kinds: dict[str, list[Matrix]] = {}
    for site in sites:
        kinds.setdefault(_within_layer(site.name), []).append(site)
    return [
        (
            kind, some[0].role, sum(site.count for site in some),
            sum(site.weights for site in some), max(site.columns for site in some),
        )
        for kind, some in kinds.items()
    ]  # fmt: skip


def _within_layer(name: str) -> str:
    """Return the part of a name behind its layer's number, numbers of experts left out."""
    if layer_index(name) is None:
        return name
    parts = name.split(".")
    start = next(i for i, part in enumerate(parts) if part.isdecimal()) + 1
    return ".".join(part for part in parts[start:] if not part.isdecimal())
