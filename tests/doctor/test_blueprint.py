"""What a model is made of, against the model itself."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from prosopon import embedded
from prosopon.doctor.blueprint import Matrix, by_kind, read_blueprint
from prosopon.doctor.memory import active_count, cache_bytes
from prosopon.errors import ModelError, OptionError
from prosopon.lm.forward import past_of
from prosopon.models import find_sites
from tests.subnetwork import test_hub
from tests.tiny import EXPERT_FAMILIES, FAMILIES

hub = test_hub.hub


@pytest.mark.parametrize("family", FAMILIES)
def test_sites_are_those_of_the_model(folder_of, family):
    folder, model = folder_of(family)
    blueprint = read_blueprint(str(folder))
    theirs = {site.name: site.shape for site in find_sites(model)}
    assert {site.name: (site.rows, site.columns) for site in blueprint.sites} == theirs
    assert blueprint.parameters == sum(p.numel() for p in model.parameters())
    assert blueprint.weights_bytes("float32") == sum(p.nbytes for p in model.parameters())
    assert blueprint.weights_bytes("bfloat16") * 2 == blueprint.weights_bytes("float32")
    assert blueprint.family == family
    assert blueprint.context == model.config.max_position_embeddings
    assert blueprint.vocabulary == model.config.vocab_size
    assert sum(kind[3] for kind in by_kind(blueprint.sites)) == blueprint.site_weights


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "opt", "gpt_neox", "gpt_neo"])
def test_keys_and_values_take_what_the_plan_says(folder_of, family):
    folder, model = folder_of(family)
    length = 7
    output = model(torch.ones(1, length, dtype=torch.long), use_cache=True)
    (cache,) = past_of(output).values()
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert held == length * cache_bytes(read_blueprint(str(folder)), 4)


@pytest.mark.parametrize("family", EXPERT_FAMILIES)
def test_experts_are_counted_whole_and_used_in_part(folder_of, family):
    folder, model = folder_of(family)
    blueprint = read_blueprint(str(folder))
    planned = {}
    for site in blueprint.sites:
        names = [f"{site.name}.{i}" for i in range(site.count)] if site.count > 1 else [site.name]
        planned |= dict.fromkeys(names, (site.rows, site.columns))
    assert planned == {site.name: site.shape for site in find_sites(model)}
    assert blueprint.parameters == sum(p.numel() for p in model.parameters())
    fused = [site for site in blueprint.sites if site.count > 1]
    assert {active_count(blueprint, site) for site in fused} == {2.0}
    assert active_count(blueprint, Matrix("layers.0.self_attn.q_proj", 2, 2)) == 1


def test_the_embedded_model_and_its_kinds():
    blueprint = read_blueprint("embedded")
    assert blueprint.place == str(embedded.path())
    assert blueprint.dtype == "float32"
    assert blueprint.site_weights == 1_769_472
    kinds = {
        kind: (part, count, widest) for kind, part, count, _, widest in by_kind(blueprint.sites)
    }
    assert kinds["mlp.down_proj"] == ("mlp", 4, 576)
    assert kinds["self_attn.k_proj"] == ("attention", 4, 192)


def test_experts_of_one_layer_are_one_kind():
    sites = [
        Matrix(f"model.layers.{layer}.mlp.experts.{e}.w1", 4, 8)
        for layer in (0, 1)
        for e in (0, 1, 2)
    ]
    assert by_kind([*sites, Matrix("project_in", 2, 2)]) == [
        ("mlp.experts.w1", "mlp", 6, 192, 8),
        ("project_in", "other", 1, 4, 2),
    ]


def test_shards_are_read_like_one_file(folder_of, tmp_path):
    from safetensors.torch import load_file, save_file

    folder, _ = folder_of("llama")
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    for file, inside in parts.items():
        save_file({name: tensors[name] for name in inside}, tmp_path / file)
    index = {"weight_map": {name: file for file, inside in parts.items() for name in inside}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    shutil.copy(folder / "config.json", tmp_path)
    whole, sharded = read_blueprint(str(folder)), read_blueprint(str(tmp_path))
    assert {site.name for site in sharded.sites} == {site.name for site in whole.sites}
    assert sharded.stored == whole.stored
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(ModelError, match=r"b\.safetensors is missing"):
        read_blueprint(str(tmp_path))


def test_what_is_packed_keeps_its_bytes(folder_of, tmp_path):
    folder, _ = folder_of("llama")
    shutil.copy(folder / "model.safetensors", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    blueprint = read_blueprint(str(tmp_path))
    assert blueprint.quantised == "gptq"
    assert blueprint.weights_bytes("float32") == sum(t.nbytes for t in blueprint.tensors)


def test_a_nested_configuration_is_looked_into(folder_of, tmp_path):
    folder, _ = folder_of("llama")
    shutil.copy(folder / "model.safetensors", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "both", "text_config": config}))
    blueprint = read_blueprint(str(tmp_path))
    assert blueprint.family == "llama"
    assert blueprint.number("layers") == 2
    assert blueprint.number("head_dim") == 8


def test_a_gguf_file_is_the_model_that_it_was_made_of(tmp_path):
    pytest.importorskip("gguf")
    from tests.models.gguf_files import write_tiny

    path = tmp_path / "tiny.gguf"
    model, _ = write_tiny(path)
    blueprint = read_blueprint(str(path))
    theirs = find_sites(model)
    assert sorted((s.rows, s.columns) for s in blueprint.sites) == sorted(s.shape for s in theirs)
    assert {s.role for s in blueprint.sites} == {s.role for s in theirs}
    assert blueprint.parameters == sum(p.numel() for p in model.parameters())
    assert blueprint.converts == blueprint.weights_bytes("float32")
    assert blueprint.number("layers") == model.config.num_hidden_layers
    assert blueprint.number("kv_heads") == model.config.num_key_value_heads
    assert read_blueprint(str(path), dtype="bfloat16").converts * 2 == blueprint.converts


def test_refusals_name_the_thing(tmp_path, folder_of):
    with pytest.raises(OptionError, match=r"unknown dtype 'int8'. Choices: auto, float32"):
        read_blueprint("embedded", dtype="int8")
    with pytest.raises(OptionError, match="'embedded' is a folder, which has no revisions"):
        read_blueprint("embedded", revision="main")
    with pytest.raises(ModelError, match="there is no such folder"):
        read_blueprint("./nowhere")
    with pytest.raises(ModelError, match=r"no folder and not in the Hub's cache: give --online"):
        read_blueprint("org/nothing-of-that-name")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no plan without safetensors files"):
        read_blueprint(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="is no JSON object"):
        read_blueprint(str(tmp_path))


def test_numbers_of_every_family_come_under_one_name(folder_of):
    for family in FAMILIES:
        blueprint = read_blueprint(str(folder_of(family)[0]))
        assert [blueprint.number(w) for w in ("hidden", "layers", "heads")] == [32, 2, 4], family


def test_the_hub_is_asked_for_headers_alone(hub, folder_of, tmp_path):
    folder, _ = folder_of("llama")
    hub.repository = {"name": "ada/tiny"}
    hub.files = {p.name: p.read_bytes() for p in folder.iterdir()}
    code = """
from prosopon.doctor.blueprint import read_blueprint
blueprint = read_blueprint("ada/tiny", online=True)
print(blueprint.place, blueprint.family, blueprint.parameters, len(blueprint.sites))
"""
    local = read_blueprint(str(folder))
    expected = f"ada/tiny llama {local.parameters} {len(local.sites)}"
    assert test_hub.run(hub.url, tmp_path, code).strip() == expected
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_model_in_the_hubs_cache_is_read_there(folder_of, tmp_path, monkeypatch):
    from huggingface_hub import constants

    folder, _ = folder_of("llama")
    commit = "a" * 40
    place = tmp_path / "models--ada--tiny"
    shutil.copytree(folder, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    blueprint = read_blueprint("ada/tiny")
    assert blueprint.place == "ada/tiny"
    assert blueprint.sites == read_blueprint(str(folder)).sites
    assert read_blueprint("ada/tiny", revision=commit).stored == blueprint.stored
    (place / "snapshots" / commit / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="give --online"):
        read_blueprint("ada/tiny")
    with pytest.raises(ModelError, match=r"cannot be reached \(HF_HUB_OFFLINE is set\)"):
        read_blueprint("ada/tiny", online=True)


def test_smollm2_is_the_hubs_where_its_package_is_not_installed(monkeypatch):
    from prosopon.models import loading

    monkeypatch.setattr(loading, "_smollm2_package", lambda: None)
    with pytest.raises(ModelError, match="'smollm2' is no folder and not in the Hub's cache"):
        read_blueprint("smollm2")


def test_what_a_configuration_does_not_say_is_zero(big):
    empty = replace(big, config={"hidden_size": 12, "num_attention_heads": 3})
    assert empty.number("layers") == 0
    assert empty.number("kv_heads") == 3
    assert empty.number("head_dim") == 4
    assert empty.context is None
    assert empty.vocabulary == 128256  # the embedding says
    assert replace(empty, config={}).number("head_dim") == 0
