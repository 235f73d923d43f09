"""LoRA approximations: PEFT loads them, and what is said of their fidelity is true."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from prosopon.errors import OptionError
from prosopon.export import export_persona, fidelity
from prosopon.export.lowrank import factors, squared_error
from prosopon.models import find_sites
from tests.export.samples import peft_logits, quiet, worn_logits
from tests.runtime.samples import assert_bits, logits, subnetwork, weights
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
