"""Exports of masks of fused experts."""

import pytest
import torch

from prosopon.errors import ExportError
from prosopon.export import export_persona
from tests.experts import expert_sites
from tests.export.samples import loaded_logits, quiet, subnetwork_of, worn_logits
from tests.runtime.samples import assert_bits, logits, subnetwork, weights
from tests.tiny import tiny_model


@pytest.mark.parametrize("family", ["mixtral", "qwen2_moe", "gpt_oss"])
def test_a_checkpoint_computes_what_the_worn_persona_computes(family, tmp_path):
    from transformers import AutoModelForCausalLM

    model, tokenizer = tiny_model(family)
    persona, base = subnetwork(model), weights(model)
    export_persona(model, tokenizer, persona, format="checkpoint", output=tmp_path / "out")
    assert_bits(model, base)
    expected = worn_logits(model, persona)
    assert torch.equal(loaded_logits(tmp_path / "out"), expected)
    assert not torch.equal(logits(model), expected)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for site in expert_sites(loaded):
        stored = site.oriented(base[site.parameter][site.expert])
        pruned = torch.where(persona.keep[site.name], stored, 0.0)
        assert torch.equal(site.matrix(), pruned)


@quiet
@pytest.mark.parametrize("format", ["lora", "shira"])
def test_adapters_are_refused_and_say_what_works(format, tmp_path):
    model, tokenizer = tiny_model("mixtral")
    with pytest.raises(ExportError, match=rf"format '{format}': .*gate_up_proj\.0' is one expert"):
        export_persona(model, tokenizer, subnetwork(model), format=format, output=tmp_path / "out")
    dense = subnetwork(model, targets=["*self_attn*"], share=0.05)
    export_persona(model, tokenizer, dense, format=format, output=tmp_path / "out")


def test_dead_channels_of_experts_stay_as_zeros(tmp_path):
    model, tokenizer = tiny_model("mixtral")
    keep = {site.name: torch.ones(site.shape, dtype=torch.bool) for site in expert_sites(model)}
    for name, mask in keep.items():
        if "down_proj" in name:
            mask[:, :4] = False
        else:
            mask[:4] = mask[48:52] = False
    persona = subnetwork_of(model, keep)
    with pytest.raises(ExportError, match="channels: a configuration of mixtral cannot say"):
        export_persona(model, tokenizer, persona, format="structured", output=tmp_path / "out")
