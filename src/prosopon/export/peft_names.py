"""How PEFT's files name things and are written: shared by the two kinds of adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prosopon.errors import ExportError
from prosopon.export.base import Job
from prosopon.models import Site

if TYPE_CHECKING:
    from torch import Tensor, nn


ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""The file of an adapter's tensors."""

PEFT_LOADING = (
    "from peft import PeftModel\n"
    "from transformers import AutoModelForCausalLM\n\n"
    'base = AutoModelForCausalLM.from_pretrained("{base}")\n'
    'model = PeftModel.from_pretrained(base, "{folder}")'
)
"""How an adapter is loaded."""


def save_adapter(
    job: Job, folder: Path, kind: Any, tensors: Mapping[tuple[str, str], Tensor], **settings: Any
) -> None:
    """Write the two files of an adapter, with ``kind`` PEFT's class of the configuration.

    Tensors are by the site's name and a part of it, such as ``lora_A.weight``; ``settings`` are
    those of the configuration besides those of any adapter.
    """
    from safetensors.torch import save_file

    named = {
        f"base_model.model.{site}.{part}": tensor.cpu().contiguous()
        for (site, part), tensor in tensors.items()
    }
    save_file(named, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    names = {site for site, _ in tensors}
    kind(
        inference_mode=True,
        task_type="CAUSAL_LM",
        target_modules=target_modules([s for s in job.wearer.sites if s.name in names], job.model),
        base_model_name_or_path=job.base_model,
        revision=job.revision,
        **settings,
    ).save_pretrained(folder)


def refuse_experts(sites: Sequence[Site], format: str) -> None:
    """Refuse experts of a fused parameter: PEFT adapts modules, or a parameter as a whole."""
    for site in sites:
        if site.expert is not None:
            raise ExportError(
                f"format {format!r}: {site.name!r} is one expert of a fused parameter, and PEFT "
                "adapts modules, or such a parameter as a whole; choose --format checkpoint "
                "(exact), or extract without experts (--ignore '*experts*')"
            )


def target_modules(sites: Sequence[Site], model: nn.Module) -> list[str]:
    """Return the shortest names by which PEFT finds these sites and no other module.

    The last parts of the names (``q_proj``), which is what serving engines expect, if they mean
    just these sites; else the full names.
    """
    wanted = {site.name for site in sites}
    leaves = {name.rpartition(".")[2] for name in wanted}
    meant = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in leaves}
    return sorted(leaves if meant == wanted else wanted)
