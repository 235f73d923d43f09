"""``checkpoint``: the whole model with the mask written in, for any engine.

Also how the formats save a live model with the library's own writer, and read one back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field

from prosopon.errors import ExportError
from prosopon.export.base import FORMATS, Format, FormatOptions, Job

if TYPE_CHECKING:
    from torch import Tensor


SUMMARY = "a plain Hugging Face checkpoint with the mask written in"
AUTO_LOADING = (
    "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
    'model = AutoModelForCausalLM.from_pretrained("{folder}")\n'
    'tokenizer = AutoTokenizer.from_pretrained("{folder}")'
)
"""How a checkpoint is loaded."""


class CheckpointOptions(FormatOptions):
    """Options of ``checkpoint``."""

    # largest file of weights, such as ``5GB``
    max_shard_size: str = Field(default="5GB", pattern=r"^\d+(\.\d+)?[KMGT]?B$")


def write_checkpoint(job: Job, folder: Path) -> dict[str, Any]:
    """Wear the persona, save, restore; nothing is copied but what the writer copies.

    A pruned weight is a zero with its old sign, so that the folder has the fingerprint of the
    base model; its configuration says whose it is, so that no other persona is taken for one of it.
    """
    with job.wearer.persona(job.persona):
        save_worn(job, job.model, folder)
    return {}


def save_worn(
    job: Job, model: Any, folder: Path, state: Mapping[str, Tensor] | None = None
) -> None:
    """Write a plain Hugging Face checkpoint, of ``state`` where that is given, else of the model.

    Shards and tied weights are the library's business. The persona is noted in the written
    configuration (:func:`prosopon.runtime.membership.check_belongs`), not in the model's own.
    """
    from prosopon.runtime.membership import EXPORTED

    try:
        with _same_config(model), _without_bars():
            setattr(model.config, EXPORTED, job.persona)
            # The class's own: the model's is refused while a persona is worn.
            type(model).save_pretrained(
                model,
                folder,
                state_dict=state and dict(state),
                max_shard_size=job.options.max_shard_size,
            )
        if job.tokenizer is not None:
            job.tokenizer.save_pretrained(folder)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ExportError(f"the model cannot be saved: {first_line(error)}") from error


def load_checkpoint(folder: Path) -> Any:
    """Load a folder as anyone would: ``AutoModelForCausalLM``, no code of ours, on the CPU."""
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
    from prosopon.runtime.membership import EXPORTED

    names = ("dtype", "architectures", EXPORTED)
    before = {name: getattr(model.config, name) for name in names if hasattr(model.config, name)}
    try:
        yield
    finally:
        vars(model.config).pop(EXPORTED, None)
        for name, value in before.items():
            setattr(model.config, name, value)


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


FORMATS.add(
    "checkpoint", Format("checkpoint", SUMMARY, AUTO_LOADING, write_checkpoint, CheckpointOptions)
)
