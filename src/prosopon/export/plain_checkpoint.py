"""Saving a live model with the library's own writer, and reading the result back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from prosopon.errors import ExportError

if TYPE_CHECKING:
    from torch import Tensor


def save_checkpoint(
    model: Any,
    tokenizer: Any,
    folder: Path,
    *,
    state: Mapping[str, Tensor] | None = None,
    max_shard_size: str = "5GB",
    persona: str | None = None,
) -> None:
    """Write a plain Hugging Face checkpoint.

    Shards and tied weights are the writer's business. It copies at most a shard at a time.

    Args:
        model: A ``PreTrainedModel``; its configuration is the same afterwards.
        tokenizer: Saved beside it; None for none.
        folder: An existing folder.
        state: Tensors to save instead of the model's own.
        max_shard_size: Such as ``5GB``.
        persona: What is worn; noted in the written configuration (see
            :func:`prosopon.runtime.membership.check_belongs`).

    Raises:
        ExportError: The writer refuses the model, its configuration or the shard size.
    """
    try:
        with _same_config(model), _without_bars():
            if persona is not None:
                from prosopon.runtime.membership import EXPORTED

                setattr(model.config, EXPORTED, persona)
            # The class's own: the model's is refused while a persona is worn.
            type(model).save_pretrained(
                model,
                folder,
                state_dict=None if state is None else dict(state),
                max_shard_size=max_shard_size,
            )
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ExportError(f"the model cannot be saved: {first_line(error)}") from error


def load_checkpoint(folder: Path) -> Any:
    """Load a folder as anyone would: ``AutoModelForCausalLM``, no code of ours, on the CPU.

    Raises:
        ExportError: It does not load, or lacks a parameter.
    """
    from transformers import AutoModelForCausalLM

    try:
        with _without_bars():
            model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    except Exception as error:  # whatever any library says, the export is no good
        raise ExportError(f"the checkpoint does not load: {first_line(error)}") from error
    odd = [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]
    if odd:
        raise ExportError(f"the checkpoint does not load whole: {odd[0]!r} and {len(odd) - 1} more")
    return model.eval()


def probe_tokens(model: Any, rows: int = 2, length: int = 16) -> Tensor:
    """Return seeded random token ids, int64 [rows, length], on the model's device."""
    generator = torch.Generator().manual_seed(0)
    size = model.get_input_embeddings().weight.shape[0]
    return torch.randint(size, (rows, length), generator=generator).to(model.device)


def logits(model: Any, tokens: Tensor) -> Tensor:
    """Return the logits, float32 [rows, length, vocabulary] on the CPU."""
    with torch.no_grad():
        result: Tensor = model(tokens.to(model.device), use_cache=False).logits
    return result.float().cpu()


def first_line(error: Exception) -> str:
    """Return the first line of a message that says something."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


@contextmanager
def _same_config(model: Any) -> Iterator[None]:
    """Undo what the writer notes in the live configuration."""
    before = {name: getattr(model.config, name, None) for name in ("dtype", "architectures")}
    from prosopon.runtime.membership import EXPORTED

    mark = getattr(model.config, EXPORTED, None)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(model.config, name, value)
        if mark is None:
            vars(model.config).pop(EXPORTED, None)
        else:
            setattr(model.config, EXPORTED, mark)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep the library's progress bars off the terminal for work of seconds."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
