"""``checkpoint``: the whole model with the mask written in, for any engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from prosopon.export.base import FORMATS, Format, Job, NoOptions
from prosopon.export.saving import save_checkpoint

AUTO_LOADING = (
    "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
    'model = AutoModelForCausalLM.from_pretrained("{folder}")\n'
    'tokenizer = AutoTokenizer.from_pretrained("{folder}")'
)
"""How a checkpoint is loaded."""


class CheckpointOptions(NoOptions):
    """Options of ``checkpoint``.

    Attributes:
        max_shard_size: Largest file of weights, such as ``5GB``.
    """

    max_shard_size: str = Field(default="5GB", pattern=r"^\d+(\.\d+)?[KMGT]?B$")


def write_checkpoint(job: Job, folder: Path) -> dict[str, Any]:
    """Wear the persona, save, restore; nothing is copied but what the writer copies.

    A pruned weight is a zero with its old sign, so that the folder keeps the fingerprint of the
    base model, and another of its personas can be worn on top.
    """
    with job.wearer.persona(job.persona):
        save_checkpoint(job.model, job.tokenizer, folder, max_shard_size=job.options.max_shard_size)
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
