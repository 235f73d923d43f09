"""How PEFT's files name things: shared by the two kinds of adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prosopon.models import Site

if TYPE_CHECKING:
    from torch import nn

ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""The file of an adapter's tensors."""

PEFT_LOADING = (
    "from peft import PeftModel\n"
    "from transformers import AutoModelForCausalLM\n\n"
    'base = AutoModelForCausalLM.from_pretrained("{base}")\n'
    'model = PeftModel.from_pretrained(base, "{folder}")'
)
"""How an adapter is loaded."""


def weight_key(site: str, part: str, *, leaf: bool = False) -> str:
    """Return the name of a tensor of an adapter.

    Args:
        site: Dotted name of the module in the bare model.
        part: ``lora_A``, ``lora_B``, ``shira_weight`` or ``shira_indices``.
        leaf: Whether the part is the tensor itself rather than a module with a ``weight``.
    """
    return f"base_model.model.{site}.{part}" + ("" if leaf else ".weight")


def target_modules(sites: Sequence[Site], model: nn.Module) -> list[str]:
    """Return the shortest names by which PEFT finds these sites and no other module.

    The last parts of the names (``q_proj``), which is what serving engines expect, if they mean
    just these sites; else the full names.
    """
    wanted = {site.name for site in sites}
    leaves = {name.rpartition(".")[2] for name in wanted}
    meant = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in leaves}
    return sorted(leaves if meant == wanted else wanted)
