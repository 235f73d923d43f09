"""Loading a causal language model and its tokenizer, ready to be read but never trained."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from prosopon import embedded
from prosopon.errors import ModelError, OptionError, ProsoponError
from prosopon.hub import unreachable

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED = "embedded"
"""The name of the model that ships with the package; ``./embedded`` means a folder."""

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""The choices of ``dtype`` besides ``auto``, which keeps the checkpoint's own."""

_DEVICES = ("auto", "cpu", "cuda", "mps")
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


class LoadedModel(NamedTuple):
    """A model in eval mode without gradients, its tokenizer, and the name it was asked by.

    Attributes:
        model: The ``PreTrainedModel``.
        tokenizer: Its tokenizer; always has a padding token whose id the model can embed.
        name: What :func:`load_model` was given.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str

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
) -> LoadedModel:
    """Load a causal language model and its tokenizer.

    Code from a checkpoint is never run. A tokenizer without a usable padding token gets the
    end-of-sequence token, else the unknown token, else the token of id 0; batches mask padding
    out, so the choice changes nothing.

    Args:
        name: ``embedded``, a folder, or a Hub id such as ``org/model``.
        device: See :func:`resolve_device`; leave at ``auto`` with ``device_map``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        device_map: Spreads the model over devices; needs the accelerate package.
        revision: Branch, tag or commit of a Hub model.

    Raises:
        ModelError: There is no such model, its files are damaged or incomplete, or it is not a
            causal language model. The message is one line.
        OptionError: An option is unknown or cannot be met here.
    """
    name = os.fspath(name)
    placement = _placement(device, device_map)
    wanted = _dtype(dtype)
    source = _source(name, revision)
    keywords = _hub_keywords(source, revision)
    config = _load_config(name, source, keywords)
    with _reported(name, source, "its tokenizer"):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **keywords)
    model = _load_weights(name, source, config, dtype=wanted, device_map=device_map, **keywords)
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
    return DTYPES.get(dtype, dtype)


def _source(name: str, revision: str | None) -> str:
    """Return the folder or Hub id that a name means, as transformers takes it."""
    if name == EMBEDDED:
        folder = embedded.path()
    else:
        folder = Path(name).expanduser() if name.startswith("~/") else Path(name)
        if not folder.is_dir():
            if folder.exists() or not _HUB_NAME.fullmatch(name):
                raise ModelError(f"cannot load model {name!r}: there is no such folder")
            return name
    if revision is not None:
        raise OptionError(f"model {name!r} is a folder, which has no revisions")
    _check_folder(name, folder)
    return str(folder)


def _hub_keywords(source: str, revision: str | None) -> dict[str, Any]:
    """Return what loading from the Hub is told: where it cannot be reached, to read the cache.

    Raises:
        ModelError: The cache does not hold the model either.
    """
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


def _load_config(name: str, source: str, keywords: dict[str, Any]) -> PretrainedConfig:
    """Load the configuration and refuse, before any weights are read, what cannot generate."""
    with _reported(name, source, "its configuration"):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **keywords)
    reason = _not_causal(config)
    if reason is not None:
        raise ModelError(
            f"cannot load model {name!r}: {config.model_type} is {reason}, not a causal "
            "language model"
        )
    return config


def _not_causal(config: PretrainedConfig) -> str | None:
    """Say what a model is if it is not a causal language model."""
    from transformers.models.auto import modeling_auto as auto

    if getattr(config, "is_encoder_decoder", False):
        return "an encoder-decoder"
    # BERT and its kin stand among the causal models too, but read in both directions unless
    # the checkpoint says that it is a decoder.
    masked = config.model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if masked and not getattr(config, "is_decoder", False):
        return "encoder-only"
    causal = type(config) in auto.MODEL_FOR_CAUSAL_LM_MAPPING
    return None if causal else "a kind without a causal head"


def _load_weights(name: str, source: str, config: PretrainedConfig, **options: Any) -> Any:
    """Load the weights; a parameter that the checkpoint lacks would be random, so it is refused."""
    with _reported(name, source, "its weights"):
        from transformers import AutoModelForCausalLM

        model, report = AutoModelForCausalLM.from_pretrained(
            source, config=config, output_loading_info=True, trust_remote_code=False, **options
        )
    missing = sorted(set(report["missing_keys"]) & {key for key, _ in model.named_parameters()})
    if missing:
        raise ModelError(
            f"cannot load model {name!r}: the checkpoint lacks {len(missing)} parameters, "
            f"{missing[0]!r} the first"
        )
    return model


@contextmanager
def _reported(name: str, source: str, part: str) -> Iterator[None]:
    """Turn whatever goes wrong while a part is loaded into a one-line ModelError.

    Loading runs several libraries, each with errors of its own (OSError, ValueError,
    SafetensorError, JSONDecodeError, ...); to the user all of them mean one thing.
    """
    try:
        yield
    except ProsoponError:
        raise
    except Exception as error:
        lines = (line.strip() for line in str(error).splitlines())
        reason = next((line for line in lines if line), type(error).__name__)
        # The libraries' own first lines can be long lists of class names.
        reason = reason if len(reason) <= 300 else f"{reason[:297]}..."
        elsewhere = "" if Path(source).is_dir() else " (nor is there a folder of that name)"
        message = f"cannot load model {name!r}: {part} cannot be read: {reason}{elsewhere}"
        raise ModelError(message) from error


def _ensure_pad_token(model: Any, tokenizer: Any) -> None:
    """Give the tokenizer a padding token that the model can embed, and tell the generation it.

    Some checkpoints have none, and some fine-tuned ones have one beyond the embedding's rows.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= rows:
        fallbacks = (tokenizer.eos_token_id, tokenizer.unk_token_id)
        usable = (index for index in fallbacks if index is not None and index < rows)
        tokenizer.pad_token_id = next(usable, 0)
    generation = getattr(model, "generation_config", None)
    if generation is not None and generation.pad_token_id is None:
        generation.pad_token_id = tokenizer.pad_token_id
