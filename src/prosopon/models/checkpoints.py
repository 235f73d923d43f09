"""Reading the parts of a checkpoint with transformers; whatever goes wrong is one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prosopon.errors import ModelError, ProsoponError

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def load_config(name: str, source: str, **keywords: Any) -> PretrainedConfig:
    """Load the configuration and refuse, before any weights are read, what cannot generate."""
    with one_line_errors(name, source, "its configuration"):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **keywords)
    if reason := _not_causal(config):
        raise ModelError(
            f"cannot load model {name!r}: {config.model_type} is {reason}, not a causal "
            "language model"
        )
    return config


def load_tokenizer(name: str, source: str, **keywords: Any) -> Any:
    """Load the tokenizer."""
    with one_line_errors(name, source, "its tokenizer"):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(source, trust_remote_code=False, **keywords)


def load_weights(name: str, source: str, config: PretrainedConfig, **options: Any) -> Any:
    """Load the weights; a parameter that the checkpoint lacks would be random, so it is refused."""
    with one_line_errors(name, source, "its weights"):
        from transformers import AutoModelForCausalLM

        # Where the Hub is to be left alone, so is the question whether it has an adapter.
        hub = {key: options[key] for key in ("revision", "local_files_only") if key in options}
        model, report = AutoModelForCausalLM.from_pretrained(
            source, config=config, output_loading_info=True, trust_remote_code=False,
            adapter_kwargs=hub, **options,
        )  # fmt: skip
    missing = sorted(set(report["missing_keys"]) & {key for key, _ in model.named_parameters()})
    if missing:
        raise ModelError(
            f"cannot load model {name!r}: the checkpoint lacks {len(missing)} parameters, "
            f"{missing[0]!r} the first"
        )
    return model


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


@contextmanager
def one_line_errors(name: str, source: str, part: str) -> Iterator[None]:
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
