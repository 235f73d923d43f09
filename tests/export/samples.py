"""What the tests of the formats share: masks, the oracle of a worn model, real loading."""

from __future__ import annotations

import copy
from dataclasses import asdict

import pytest
import torch

from prosopon.models import find_sites, fingerprint
from prosopon.subnetwork import Subnetwork
from tests.runtime.samples import logits, masked, weights
from tests.subnetwork.samples import config
from tests.tiny import FAMILIES, tiny_model

quiet = pytest.mark.filterwarnings(
    # PEFT and torch about each other, and GGUF loading about nothing
    "ignore:.*is_gradient_checkpointing:FutureWarning",
    "ignore:Sparse invariant checks:UserWarning",
)


def subnetwork_of(model, keep, levels=None):
    sites = find_sites(model)
    named = [site for site in sites if site.name in keep]
    return Subnetwork(keep, config(fingerprint=asdict(fingerprint(named))), levels)


def worn_logits(model, persona):
    """Return the logits of a copy whose weights are multiplied by the masks, the slow way."""
    other = copy.deepcopy(model)
    other.load_state_dict(masked(model, weights(model), persona, 0.0))
    return logits(other)


def peft_logits(base, folder):
    """Load an adapter on a fresh base model, a family or a folder, with PEFT alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    fresh = base in FAMILIES
    model = tiny_model(base)[0] if fresh else AutoModelForCausalLM.from_pretrained(base)
    return logits(PeftModel.from_pretrained(model, folder))


def half_model(dtype, folder):
    """Return a model loaded in half precision: casting one would cast its position tables too."""
    from transformers import AutoModelForCausalLM

    model, tokenizer = tiny_model()
    model.save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype), tokenizer


def loaded_logits(folder, **options):
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **options)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return logits(model)


def structured_keep(model, channels=(), heads=()):
    """Prune whole channels and query heads: ``channels[layer]`` and ``heads[layer]`` list them.

    Written for each family by its own names, apart from the code under test.
    """
    names = {site.name: torch.ones(site.shape, dtype=torch.bool) for site in find_sites(model)}
    ins = ("gate_proj", "up_proj", "fc1", "c_fc", "dense_h_to_4h")
    outs = ("down_proj", "fc2", "mlp.c_proj", "dense_4h_to_h")
    count = model.config.num_attention_heads
    for name, keep in names.items():
        layer = next(int(part) for part in name.split(".") if part.isdecimal())
        if layer < len(channels):
            if name.endswith(ins):
                keep[channels[layer]] = False
            elif name.endswith(outs):
                keep[:, channels[layer]] = False
        if layer < len(heads):
            size = model.config.hidden_size // count
            for head in heads[layer]:
                part = slice(head * size, (head + 1) * size)
                if name.endswith("q_proj"):
                    keep[part] = False
                elif name.endswith(("o_proj", "attn.dense", "out_proj")):
                    keep[:, part] = False
    return names
