"""Structured checkpoints: smaller, loaded without code of ours, and the same function."""

from __future__ import annotations

import json

import pytest
import torch

from prosopon.errors import ExportError
from prosopon.export import export_persona, structured
from tests.export.samples import loaded_logits, structured_keep, subnetwork_of, worn_logits
from tests.runtime.samples import assert_bits, weights
from tests.tiny import FAMILIES, tiny_config, tiny_model, tiny_tokenizer

HEADED = ("llama", "mistral", "qwen2", "qwen3", "gemma", "phi")
WIDTHS = {"gpt2": "n_inner", "opt": "ffn_dim"}


def exported(model, tokenizer, keep, folder):
    persona, base = subnetwork_of(model, keep), weights(model)
    report = export_persona(model, tokenizer, persona, format="structured", output=folder)
    assert_bits(model, base)
    torch.testing.assert_close(
        loaded_logits(folder), worn_logits(model, persona), atol=2e-4, rtol=1e-4
    )
    return report, json.loads((folder / "config.json").read_text())


def sizes(folder):
    from safetensors.torch import load_file

    return sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values())


@pytest.mark.parametrize("family", FAMILIES)
def test_channels_are_gone(family, tmp_path):
    model, tokenizer = tiny_model(family)
    keep = structured_keep(model, channels=[[0, 7, 8, 40], [1, 2, 3, 47]])
    width = next(site.shape[1] for site in sites(model) if out_of_mlp(site.name))
    report, settings = exported(model, tokenizer, keep, tmp_path / "out")
    assert settings[WIDTHS.get(family, "intermediate_size")] == width - 4
    assert report["channels"]["kept"] == width - 4
    assert report["channels"]["padding"] == 0
    assert report["zeros_left"] == 0
    assert report["parameters"] == sizes(tmp_path / "out")
    assert report["parameters"] < report["parameters_before"]


def sites(model):
    from prosopon.models import find_sites

    return find_sites(model)


def out_of_mlp(name):
    return name.endswith(("down_proj", "fc2", "mlp.c_proj", "dense_4h_to_h"))


def test_unequal_layers_are_padded_and_said_so(tmp_path):
    model, tokenizer = tiny_model()
    keep = structured_keep(model, channels=[[5], [0, 1, 2, 9]])
    report, settings = exported(model, tokenizer, keep, tmp_path / "out")
    assert settings["intermediate_size"] == 47
    assert report["channels"] == {
        "before": 48, "kept": 47, "live_by_layer": [47, 44], "padding": 3,
        "removed_share": pytest.approx(1 / 48),
    }  # fmt: skip
    assert report["zeros_left"] == 3 * 3 * 32
    assert any("3 dead ones stay as padding" in note for note in report["notes"])
    assert "3 dead ones stay as padding" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize("family", HEADED)
def test_heads_are_gone(family, tmp_path):
    model, tokenizer = tiny_model(family)
    # Two query heads that share a key-value head, where there are such.
    keep = structured_keep(model, heads=[[2, 3], [0, 1]])
    report, settings = exported(model, tokenizer, keep, tmp_path / "out")
    assert settings["num_attention_heads"] == 2
    assert settings["head_dim"] == 8
    assert report["heads"]["kept"] == settings["num_key_value_heads"] == 1
    assert report["heads"]["query_heads_each"] == 2
    model_class_shapes(tmp_path / "out")


def ungrouped():
    from transformers import AutoModelForCausalLM

    tokenizer = tiny_tokenizer()
    settings = tiny_config("llama", len(tokenizer))
    settings.num_key_value_heads = settings.num_attention_heads
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(settings)
    return model.eval().requires_grad_(False), tokenizer


@pytest.mark.parametrize(
    ("heads", "kept", "padding"),
    [([[0, 2], [1, 3]], 2, 0), ([[0, 2], [0, 1, 3]], 2, 1), ([[0, 1, 2], [0, 1, 2]], 1, 0)],
)
def test_heads_that_share_nothing(heads, kept, padding, tmp_path):
    model, tokenizer = ungrouped()
    keep = structured_keep(model, heads=heads)
    for layer, gone in enumerate(heads):  # keys and values, which no other head reads
        for head in gone:
            for leaf in ("k_proj", "v_proj"):
                keep[f"model.layers.{layer}.self_attn.{leaf}"][head * 8 : head * 8 + 8] = False
    report, settings = exported(model, tokenizer, keep, tmp_path / "out")
    assert settings["num_attention_heads"] == settings["num_key_value_heads"] == kept
    assert (report["heads"]["kept"], report["heads"]["padding"]) == (kept, padding)


def test_a_number_of_heads_that_the_family_refuses_is_not_written(tmp_path):
    # Llama's hidden size, 32, must be a multiple of the heads, so four stay four.
    model, tokenizer = ungrouped()
    keep = structured_keep(model, channels=[[1], [2]], heads=[[0], [1]])
    report, settings = exported(model, tokenizer, keep, tmp_path / "out")
    assert settings["num_attention_heads"] == 4
    assert "heads" not in report
    assert any("cannot say that there are fewer" in note for note in report["notes"])


def model_class_shapes(folder):
    from transformers import AutoModelForCausalLM

    attention = AutoModelForCausalLM.from_pretrained(folder).base_model.layers[0].self_attn
    assert attention.q_proj.weight.shape == (16, 32)


def test_channels_and_heads_together(tmp_path):
    model, tokenizer = tiny_model()
    keep = structured_keep(model, channels=[[3, 4], [5, 6]], heads=[[0, 1], [0, 1]])
    report, settings = exported(model, tokenizer, keep, tmp_path / "out")
    assert (settings["intermediate_size"], settings["num_attention_heads"]) == (46, 2)
    assert set(report) >= {"channels", "heads"}


def test_single_pruned_weights_stay_as_zeros(tmp_path):
    model, tokenizer = tiny_model()
    keep = structured_keep(model, channels=[[3], [5]])
    generator = torch.Generator().manual_seed(0)
    for mask in keep.values():
        mask &= torch.rand(mask.shape, generator=generator) >= 0.1
    report, _ = exported(model, tokenizer, keep, tmp_path / "out")
    assert report["channels"]["kept"] == 47
    assert 0 < report["zeros_left"] < subnetwork_of(model, keep).pruned
    assert any("stay as zeros" in note for note in report["notes"])


@pytest.mark.parametrize("family", ["gpt_neo", "opt"])
def test_heads_that_a_configuration_cannot_say_stay_as_zeros(family, tmp_path):
    model, tokenizer = tiny_model(family)
    keep = structured_keep(model, channels=[[1], [2]], heads=[[0], [1]])
    report, settings = exported(model, tokenizer, keep, tmp_path / "out")
    assert "heads" not in report
    assert settings.get("num_attention_heads", settings.get("num_heads")) == 4
    assert report["zeros_left"] == 2 * 2 * 8 * 32
    assert any("heads" in note for note in report["notes"])


def test_heads_alone_that_cannot_be_removed_are_an_error(tmp_path):
    model, tokenizer = tiny_model("opt")
    persona = subnetwork_of(model, structured_keep(model, heads=[[0], [1]]))
    with pytest.raises(ExportError, match=r"heads.*--format checkpoint"):
        export_persona(model, tokenizer, persona, format="structured", output=tmp_path / "out")


@pytest.mark.parametrize("channels", [[], [[1, 2]]], ids=["none", "one layer only"])
def test_nothing_removable_is_an_error_that_says_what_to_do(channels, tmp_path):
    model, tokenizer = tiny_model()
    keep = structured_keep(model, channels=channels)
    keep["model.layers.0.self_attn.q_proj"][0, 0] = False
    persona = subnetwork_of(model, keep)
    with pytest.raises(ExportError, match=r"--pattern channels or heads.*--format checkpoint"):
        export_persona(model, tokenizer, persona, format="structured", output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_cut_is_not_written(monkeypatch, tmp_path):
    model, tokenizer = tiny_model()
    persona, base = (
        subnetwork_of(model, structured_keep(model, channels=[[3], [5]])),
        weights(model),
    )
    right = structured.cut

    def wrong(state, plan, sites):
        name = "model.layers.0.mlp.down_proj"
        plan.columns[name] = plan.columns[name].flip(0)
        return right(state, plan, sites)

    monkeypatch.setattr(structured, "cut", wrong)
    with pytest.raises(ExportError, match="logits differ"):
        export_persona(model, tokenizer, persona, format="structured", output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert_bits(model, base)


def test_generation_runs_with_a_cache(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = tiny_model()
    keep = structured_keep(model, channels=[[3], [5]], heads=[[0, 1], [2, 3]])
    exported(model, tokenizer, keep, tmp_path / "out")
    small = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    given = AutoTokenizer.from_pretrained(tmp_path / "out")("The people", return_tensors="pt")
    written = [
        small.generate(**given, max_new_tokens=8, do_sample=False, use_cache=cache)
        for cache in (True, False)
    ]
    assert torch.equal(*written)
    assert written[0].shape[1] > given.input_ids.shape[1]


@pytest.mark.parametrize("pattern", ["channels", "heads"])
def test_what_extraction_selects_is_removed(pattern, tmp_path):
    from prosopon.extraction import extract

    model, tokenizer = tiny_model(chat=True)
    targets = ["*mlp*"] if pattern == "channels" else ["*self_attn*"]
    persona = extract(
        model, tokenizer, target="bold", criterion="wanda", sparsity=0.5, pattern=pattern,
        targets=targets,
    )  # fmt: skip
    report, _ = exported(model, tokenizer, persona.keep, tmp_path / "out")
    assert report[pattern]["removed_share"] == 0.5
    assert report["zeros_left"] == 0
