"""SHiRA adapters: PEFT alone loads them, and they are exact."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from prosopon.errors import ExportError
from prosopon.export import export_persona
from prosopon.export.shira import shira_entries, shira_rank
from prosopon.models import find_sites
from tests.export.samples import half_model, peft_logits, quiet, subnetwork_of, worn_logits
from tests.runtime.samples import assert_bits, logits, subnetwork, weights
from tests.tiny import FAMILIES, tiny_model

pytestmark = quiet
LINEAR = [family for family in FAMILIES if family != "gpt2"]


@pytest.mark.parametrize("family", LINEAR)
def test_peft_loads_it_and_computes_the_same(family, tmp_path):
    model, tokenizer = tiny_model(family)
    persona = subnetwork(model, share=0.1)
    base = weights(model)
    export_persona(model, tokenizer, persona, format="shira", output=tmp_path / "out")
    assert_bits(model, base)
    expected = worn_logits(model, persona)
    assert torch.equal(peft_logits(family, tmp_path / "out"), expected)
    assert not torch.equal(logits(model), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_exact_too(dtype, tmp_path):
    model, tokenizer = half_model(dtype, tmp_path / "base")
    model.save_pretrained(tmp_path / "half")
    persona = subnetwork(model, share=0.1)
    export_persona(model, tokenizer, persona, format="shira", output=tmp_path / "out")
    expected = worn_logits(model, persona)
    assert torch.equal(peft_logits(tmp_path / "half", tmp_path / "out"), expected)


def test_merging_it_gives_the_masked_weights(tmp_path):
    from peft import PeftModel

    model, tokenizer = tiny_model()
    persona = subnetwork(model, share=0.1)
    export_persona(model, tokenizer, persona, format="shira", output=tmp_path / "out")
    other, _ = tiny_model()
    merged = PeftModel.from_pretrained(other, tmp_path / "out").merge_and_unload()
    for site in find_sites(model):
        expected = torch.where(persona.keep[site.name], site.matrix(), 0.0)
        assert torch.equal(merged.get_submodule(site.name).weight, expected)


def test_two_adapters_on_one_base(tmp_path):
    from peft import PeftModel

    model, tokenizer = tiny_model()
    personas = {name: subnetwork(model, seed=seed, share=0.1) for seed, name in enumerate("ab")}
    for name, persona in personas.items():
        export_persona(model, tokenizer, persona, format="shira", output=tmp_path / name)
    other, _ = tiny_model()
    loaded = PeftModel.from_pretrained(other, tmp_path / "a", adapter_name="a")
    loaded.load_adapter(tmp_path / "b", adapter_name="b")
    for name, persona in personas.items():
        loaded.set_adapter(name)
        assert torch.equal(logits(loaded), worn_logits(model, persona))
    with loaded.disable_adapter():
        assert torch.equal(logits(loaded), logits(model))


def test_only_sites_that_lose_a_weight_are_in_it(tmp_path):
    model, tokenizer = tiny_model()
    names = [site.name for site in find_sites(model)]
    keep = {site.name: torch.ones(site.shape, dtype=torch.bool) for site in find_sites(model)}
    keep[names[3]][5, 7] = False
    persona = subnetwork_of(model, keep)
    report = export_persona(model, tokenizer, persona, format="shira", output=tmp_path / "out")
    settings = json.loads((tmp_path / "out/adapter_config.json").read_text())
    assert settings["target_modules"] == [names[3]]
    assert settings["base_model_name_or_path"] == "org/model"
    assert (report["r"], report["sites"]) == (1, 1)
    assert torch.equal(peft_logits("llama", tmp_path / "out"), worn_logits(model, persona))


def test_conv1d_is_refused_by_name(tmp_path):
    model, tokenizer = tiny_model("gpt2")
    with pytest.raises(ExportError, match=r"h\.0\.attn\.c_attn.*Conv1D.*checkpoint"):
        export_persona(model, tokenizer, subnetwork(model), format="shira", output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_mask_too_dense_for_one_r_is_refused_with_the_reason(tmp_path):
    model, tokenizer = tiny_model()
    with pytest.raises(ExportError, match=r"prunes \d+\.\d% .* needs r=\d+.*k_proj.*checkpoint"):
        export_persona(
            model, tokenizer, subnetwork(model, share=0.7), format="shira", output=tmp_path / "out"
        )


@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    seed=st.integers(0, 99),
    share=st.floats(0, 1),
    extra=st.integers(0, 36),
)
def test_entries_are_the_mask_and_nothing_else(rows, columns, seed, share, extra):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    keep = torch.rand(rows, columns, generator=generator) >= share
    count = min(int((~keep).sum()) + extra, weight.numel())
    positions, values = shira_entries(weight, keep, count)
    assert positions.dtype == torch.int32
    assert positions.shape == (2, count)
    flat = positions[0].long() * columns + positions[1]
    assert flat.tolist() == sorted(set(flat.tolist()))
    change = torch.zeros(rows, columns)
    change[positions[0].long(), positions[1].long()] = values
    assert torch.equal(weight + change, torch.where(keep, weight, 0.0))


def test_rank_has_room_for_the_fullest_site():
    assert shira_rank([((10, 20), 30), ((10, 20), 31), ((5, 5), 1)]) == 2


def test_the_file_is_laid_out_as_peft_lays_it_out(tmp_path):
    from peft import ShiraConfig, get_peft_model

    model, tokenizer = tiny_model()
    persona = subnetwork(model, share=0.1)
    report = export_persona(model, tokenizer, persona, format="shira", output=tmp_path / "ours")
    other, _ = tiny_model()
    settings = ShiraConfig(r=report["r"], target_modules=[site.name for site in find_sites(model)])
    get_peft_model(other, settings).save_pretrained(tmp_path / "theirs")
    ours = load_file(tmp_path / "ours/adapter_model.safetensors")
    theirs = load_file(tmp_path / "theirs/adapter_model.safetensors")
    assert {k: (v.shape, v.dtype) for k, v in ours.items()} == {
        k: (v.shape, v.dtype) for k, v in theirs.items()
    }
