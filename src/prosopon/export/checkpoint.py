"""``checkpoint``: the whole model with the mask written in, for any engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from prosopon.export.base import FORMATS, Format, FormatOptions, Job
from prosopon.export.plain_checkpoint import save_checkpoint

AUTO_LOADING = (
    "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
    'model = AutoModelForCausalLM.from_pretrained("{folder}")\n'
    'tokenizer = AutoTokenizer.from_pretrained("{folder}")'
)
"""How a checkpoint is loaded."""


class CheckpointOptions(FormatOptions):
    """Options of ``checkpoint``.

    Attributes:
        max_shard_size: Largest file of weights, such as ``5GB``.
    """

    max_shard_size: str = Field(default="5GB", pattern=r"^\d+(\.\d+)?[KMGT]?B$")


def write_checkpoint(job: Job, folder: Path) -> dict[str, Any]:
    """Wear the persona, save, restore; nothing is copied but what the writer copies.

    A pruned weight is a zero with its old sign, so that the folder has the fingerprint of the
    base model; its configuration says whose it is, so that no other persona is taken for one of it.
    """
    with job.wearer.persona(job.persona):
        save_checkpoint(
            job.model,
            job.tokenizer,
            folder,
            max_shard_size=job.options.max_shard_size,
            persona=job.persona,
        )
    return {}


FORMATS.add(
    "checkpoint",
    Format(
        "checkpoint",
        "a plain Hugging Face checkpoint with the mask written in",
        AUTO_LOADING,
        write_checkpoint,
        CheckpointOptions,
    ),
)
