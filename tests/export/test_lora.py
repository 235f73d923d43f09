"""LoRA adapters: PEFT loads them, exact ones are exact, and what is said of the rest is true."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from prosopon import PersonaModel
from prosopon.errors import OptionError
from prosopon.export import export_persona, fidelity
from prosopon.export import lora as lora_format
from prosopon.export.lowrank import factors, squared_error
from prosopon.models import find_sites
from tests.export.samples import peft_logits, quiet, subnetwork_of, worn_logits
from tests.runtime.samples import assert_bits, logits, masked, subnetwork, weights
from tests.tiny import FAMILIES, tiny_model

pytestmark = quiet


def lora(model, tokenizer, persona, folder, rank):
    options = {"rank": str(rank)}
    return export_persona(model, tokenizer, persona, format="lora", output=folder, options=options)


@pytest.mark.parametrize("family", FAMILIES)
def test_at_full_rank_it_is_the_persona(family, tmp_path):
    model, tokenizer = tiny_model(family)
    persona, base = subnetwork(model), weights(model)
    report = lora(model, tokenizer, persona, tmp_path / "out", 32)
    assert_bits(model, base)
    assert not any(site.module._forward_hooks for site in find_sites(model))
    assert report["relative_error"] < 1e-5
    assert report["divergence"]["adapter"] < 1e-6 < report["divergence"]["base"]
    torch.testing.assert_close(
        peft_logits(family, tmp_path / "out"), worn_logits(model, persona), atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_what_peft_computes_is_what_was_measured(family, tmp_path):
    model, tokenizer = tiny_model(family)
    persona = subnetwork(model)
    report = lora(model, tokenizer, persona, tmp_path / "out", 4)
    stored = load_file(tmp_path / "out/adapter_model.safetensors")
    rest = whole = 0.0
    for site in find_sites(model):
        prefix = f"base_model.model.{site.name}."
        product = stored[prefix + "lora_B.weight"] @ stored[prefix + "lora_A.weight"]
        delta = torch.where(persona.keep[site.name], 0.0, -site.matrix())
        error = float((delta - product).norm() / delta.norm())
        assert report["relative_error_by_site"][site.name] == pytest.approx(error, rel=1e-4)
        rest, whole = rest + float((delta - product).norm() ** 2), whole + float(delta.norm() ** 2)
    assert report["relative_error"] == pytest.approx((rest / whole) ** 0.5, rel=1e-4)
    changes = {
        site.name: tuple(
            stored[f"base_model.model.{site.name}.lora_{part}.weight"] for part in "BA"
        )
        for site in find_sites(model)
    }
    with fidelity.add_factors(find_sites(model), changes):
        ours = logits(model)
    torch.testing.assert_close(peft_logits(family, tmp_path / "out"), ours, atol=1e-3, rtol=1e-3)
    assert not torch.equal(ours, logits(model))


def test_a_higher_rank_is_closer(tmp_path):
    model, tokenizer = tiny_model()
    persona = subnetwork(model, share=0.2)
    reports = [lora(model, tokenizer, persona, tmp_path / str(r), r) for r in (1, 8, 24)]
    for name in ("relative_error", "worst"):
        errors = [
            max(report["relative_error_by_site"].values()) if name == "worst" else report[name]
            for report in reports
        ]
        assert errors == sorted(errors, reverse=True)
    found = [report["divergence"]["adapter"] for report in reports]
    assert found == sorted(found, reverse=True)


def test_divergence_is_zero_of_equal_and_matches_a_sum():
    generator = torch.Generator().manual_seed(3)
    rows = [torch.randn(n, 5, generator=generator) for n in (2, 3)]
    other = [torch.randn(n, 5, generator=generator) for n in (2, 3)]
    assert fidelity.mean_divergence(rows, rows) == 0.0
    total = 0.0
    for a, b in zip(torch.cat(rows), torch.cat(other), strict=True):
        p, q = a.softmax(0), b.softmax(0)
        total += sum(float(x * (x / y).log()) for x, y in zip(p, q, strict=True))
    assert fidelity.mean_divergence(rows, other) == pytest.approx(total / 5, rel=1e-5)


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (7, 7)])
def test_factors_are_the_truncated_decomposition(shape):
    delta = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    sizes = torch.linalg.svdvals(delta)
    for rank in range(1, 12):
        tall, wide = factors(delta, rank)
        assert (tall.shape, wide.shape) == ((shape[0], rank), (rank, shape[1]))
        rest, whole = squared_error(delta, tall, wide)
        assert rest == pytest.approx(float(sizes[rank:].square().sum()), abs=1e-4)
        assert whole == pytest.approx(float(sizes.square().sum()), rel=1e-5)


def test_the_randomised_decomposition_comes_close_and_repeats():
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(1100, 1030, generator=generator) < 0.01
    delta = torch.where(mask, torch.randn(1100, 1030, generator=generator), 0.0)
    state = torch.random.get_rng_state()
    found = factors(delta, 8, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(found, factors(delta, 8, seed=1), strict=True))
    best = float(torch.linalg.svdvals(delta)[8:].square().sum())
    assert best <= squared_error(delta, *found)[0] < 1.005 * best


def test_the_settings_name_the_layers_as_engines_expect(tmp_path):
    model, tokenizer = tiny_model()
    lora(model, tokenizer, subnetwork(model), tmp_path / "out", 4)
    settings = json.loads((tmp_path / "out/adapter_config.json").read_text())
    assert sorted(settings["target_modules"]) == [
        "down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj",
    ]  # fmt: skip
    assert (settings["r"], settings["lora_alpha"]) == (4, 4)
    assert settings["peft_type"] == "LORA"


@pytest.mark.parametrize("rank", ["0", "-1", "1.5", "many"])
def test_a_rank_that_is_none(rank, tmp_path):
    model, tokenizer = tiny_model()
    with pytest.raises(OptionError, match="rank"):
        lora(model, tokenizer, subnetwork(model), tmp_path / "out", rank)


def test_a_rank_beyond_every_matrix(tmp_path):
    model, tokenizer = tiny_model()
    with pytest.raises(OptionError, match="more than 32 directions, and rank=32 is exact"):
        lora(model, tokenizer, subnetwork(model), tmp_path / "out", 100_000)
    assert not (tmp_path / "out").exists()


def in_lines(model, rows=2, columns=3, share=0.5, seed=0):
    """A mask whose pruned weights lie in a few random rows and columns of every site."""
    generator = torch.Generator().manual_seed(seed)
    keep = {}
    for site in find_sites(model):
        lines = torch.zeros(site.shape, dtype=torch.bool)
        lines[torch.randperm(site.out_features, generator=generator)[:rows]] = True
        lines[:, torch.randperm(site.in_features, generator=generator)[:columns]] = True
        keep[site.name] = ~(lines & (torch.rand(site.shape, generator=generator) < share))
    return subnetwork_of(model, keep)


def peft_model(family, folder, dtype=torch.float32):
    from peft import PeftModel

    return PeftModel.from_pretrained(tiny_model(family, dtype=dtype)[0], folder)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mask_of_few_lines_is_exact(family, dtype, tmp_path):
    model, tokenizer = tiny_model(family, dtype=dtype)
    persona, base = in_lines(model), weights(model)
    report = export_persona(model, tokenizer, persona, format="lora", output=tmp_path / "out")
    assert_bits(model, base)
    assert (report["exact"], report["rank"], report["rank_needed"]) == (True, 5, 5)
    assert report["relative_error"] == 0
    assert "is the mask exactly" in report["notes"][0]
    worn = worn_logits(model, persona)
    tolerance = 1e-4 if dtype == torch.float32 else 0.15 * float(worn.abs().max())
    adapted = peft_model(family, tmp_path / "out", dtype)
    assert (logits(adapted) - worn).abs().max() < tolerance
    assert (logits(model) - worn).abs().max() > 10 * (tolerance if dtype == torch.float32 else 0)
    merged = adapted.merge_and_unload()
    expected = masked(model, base, persona, 0.0)
    for name, tensor in merged.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert torch.equal(logits(merged), worn)


def test_the_scale_is_the_soft_gate(tmp_path):
    model, tokenizer = tiny_model()
    persona = in_lines(model)
    export_persona(model, tokenizer, persona, format="lora", output=tmp_path / "out")
    for scale in (0.25, 0.6, 1.0):
        adapted = peft_model("llama", tmp_path / "out")
        for module in adapted.modules():
            if hasattr(module, "scale_layer"):
                module.scale_layer(scale)
        with PersonaModel(model, tokenizer) as wearer:
            wearer.load_persona(persona, name="worn")
            with wearer.persona("worn", gamma=1 - scale):
                soft = logits(model)
        torch.testing.assert_close(logits(adapted), soft, atol=1e-4, rtol=1e-4)


def test_a_weaker_persona_of_few_lines_is_exact_too(tmp_path):
    model, tokenizer = tiny_model()
    keep = in_lines(model).keep
    levels = {
        name: torch.arange(int((~mask).sum())).remainder(256).to(torch.uint8)
        for name, mask in keep.items()
    }
    persona = subnetwork_of(model, keep, levels)
    report = export_persona(
        model, tokenizer, persona, format="lora", output=tmp_path / "out", strength=0.1
    )
    assert report["exact"]
    merged = peft_model("llama", tmp_path / "out").merge_and_unload()
    weaker = persona.at_strength(0.1)
    assert 0 < weaker.pruned < persona.pruned
    assert torch.equal(logits(merged), worn_logits(model, weaker))


def test_a_rank_that_is_too_small_approximates_and_says_what_would_do(tmp_path):
    model, tokenizer = tiny_model()
    persona = in_lines(model)
    report = lora(model, tokenizer, persona, tmp_path / "4", 4)
    assert (report["exact"], report["rank"], report["rank_needed"]) == (False, 4, 5)
    assert 0 < report["relative_error"] < 1
    assert "Rank 5 would be exact (--option rank=5)" in report["notes"][1]
    assert "approximates the mask" in report["notes"][0]
    more = lora(model, tokenizer, persona, tmp_path / "9", 9)  # more than needed is not taken
    assert (more["exact"], more["rank"]) == (True, 5)


def test_a_mask_of_full_rank_is_approximated_unasked(tmp_path, monkeypatch):
    model, tokenizer = tiny_model()
    monkeypatch.setattr(lora_format, "MOST_EXACT", 20)  # of 32 directions
    persona = subnetwork(model)
    report = export_persona(model, tokenizer, persona, format="lora", output=tmp_path / "out")
    assert (report["exact"], report["rank"]) == (False, 16)
    assert report["rank_needed"] > 20
    assert f"--option rank={report['rank_needed']}" in report["notes"][1]
