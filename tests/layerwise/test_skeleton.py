"""A model without weights: parts come from disk, bit for bit, and go again."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from prosopon.errors import ModelError, OptionError, SiteError
from prosopon.layerwise import decoder_stack, open_skeleton
from prosopon.models import find_sites, fingerprint
from tests.tiny import FAMILIES, tiny_model


def saved(folder, family="llama", dtype=torch.float32, **options):
    model, tokenizer = tiny_model(family, dtype=dtype)
    model.save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)
    return model


def all_meta(module):
    return all(parameter.is_meta for parameter in module.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_are_those_of_the_whole_model(tmp_path, family):
    model = saved(tmp_path, family)
    skeleton, _ = open_skeleton(tmp_path)
    assert all_meta(skeleton.model)
    assert not skeleton.model.training
    whole = dict(model.named_parameters())
    sites, reference = skeleton.sites(), find_sites(model)
    assert [(s.name, s.shape, s.layer, s.role) for s in sites] == [
        (s.name, s.shape, s.layer, s.role) for s in reference
    ]
    for site, original in zip(sites, reference, strict=True):
        with skeleton.loaded(site):
            assert torch.equal(site.matrix(), original.matrix())
        assert site.weight.is_meta
        assert skeleton.layer_of(site) == site.layer
    for number, layer in enumerate(skeleton.layers):
        names = {id(module): name for name, module in skeleton.model.named_modules()}
        with skeleton.layer(number) as held:
            assert held is layer
            for name, parameter in layer.named_parameters():
                assert torch.equal(parameter, whole[f"{names[id(layer)]}.{name}"])
        assert all_meta(layer)


def test_shards_and_dtypes(tmp_path):
    model = saved(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    for dtype in (torch.bfloat16, torch.float16):
        skeleton, _ = open_skeleton(tmp_path, dtype=str(dtype).removeprefix("torch."))
        site, original = skeleton.sites()[3], find_sites(model)[3]
        with skeleton.loaded(site):
            assert torch.equal(site.matrix(), original.matrix().to(dtype))


def test_auto_is_the_dtype_of_the_checkpoint(tmp_path):
    saved(tmp_path, dtype=torch.bfloat16)
    assert open_skeleton(tmp_path)[0].sites()[0].weight.dtype == torch.bfloat16
    config = json.loads((tmp_path / "config.json").read_text())
    config.pop("dtype")
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert open_skeleton(tmp_path)[0].sites()[0].weight.dtype == torch.bfloat16


def test_only_the_rows_of_the_embedding_that_are_read(tmp_path):
    model = saved(tmp_path)
    skeleton, _ = open_skeleton(tmp_path)
    ids = torch.tensor([[9, 3, 9], [200, 3, 0]])
    skeleton.load_outside(ids.unique())
    embedding = skeleton.model.get_input_embeddings()
    assert embedding.weight.shape[0] == 4
    assert torch.equal(embedding(ids), model.get_input_embeddings()(ids))
    assert torch.equal(skeleton.body.norm.weight, model.model.norm.weight)
    assert all(all_meta(layer) for layer in skeleton.layers)


def test_names_without_the_prefix_as_many_checkpoints_on_the_hub_have_them(tmp_path):
    model = saved(tmp_path, "gpt2")
    path = tmp_path / "model.safetensors"
    bare = {name.removeprefix("transformer."): value for name, value in load_file(path).items()}
    save_file(bare, path, metadata={"format": "pt"})
    skeleton, _ = open_skeleton(tmp_path)
    site, original = skeleton.sites()[0], find_sites(model)[0]
    with skeleton.loaded(site):
        assert torch.equal(site.matrix(), original.matrix())
        assert fingerprint([site]) == fingerprint([original])
    skeleton.load_outside(torch.tensor([5]))


def rewrite(folder, name, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    value = change(tensors.pop(name))
    if value is not None:
        tensors[name] = value
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: None, "the checkpoint lacks 'model.layers.1.mlp.up_proj.weight'"),
        (lambda t: t[1:].clone(), r"has the shape \[47, 32\] in the checkpoint and \[48, 32\]"),
        (lambda t: t.to(torch.int8), r"is quantised \(int8\)"),
        (lambda t: t.to(torch.float8_e4m3fn), r"is quantised \(float8_e4m3fn\)"),
    ],
)
def test_a_weight_that_does_not_fit(tmp_path, change, message):
    saved(tmp_path)
    rewrite(tmp_path, "model.layers.1.mlp.up_proj.weight", change)
    skeleton, _ = open_skeleton(tmp_path)
    with skeleton.layer(0):
        pass
    with pytest.raises(ModelError, match=message), skeleton.layer(1):
        pass
    site = next(s for s in skeleton.sites() if s.name == "model.layers.1.mlp.up_proj")
    with pytest.raises(ModelError, match=message), skeleton.loaded(site):
        pass


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        open_skeleton(tmp_path / "nowhere")
    saved(tmp_path)
    with pytest.raises(OptionError, match="unknown dtype"):
        open_skeleton(tmp_path, dtype="int8")
    with pytest.raises(OptionError, match="unknown device"):
        open_skeleton(tmp_path, device="abacus")
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="is quantised"):
        open_skeleton(tmp_path)


def test_a_tied_site_is_refused(tmp_path):
    saved(tmp_path)
    skeleton, _ = open_skeleton(tmp_path)
    first, second = (layer.mlp for layer in skeleton.layers)
    second.up_proj.weight = first.up_proj.weight
    again = type(skeleton)(skeleton.model, skeleton.checkpoint, skeleton.device)
    with pytest.raises(SiteError, match="shares its memory"):
        again.sites()


def test_fused_experts_are_refused_and_can_be_left_out(tmp_path):
    saved(tmp_path, "mixtral")
    skeleton, _ = open_skeleton(tmp_path)
    with pytest.raises(SiteError, match=r"experts.gate_up_proj' holds fused experts.*--ignore"):
        skeleton.sites()
    assert len(skeleton.sites(ignore=["*experts*"])) == 8


def test_the_stack_is_found_by_structure():
    def stack():
        return nn.ModuleList([nn.ModuleList([nn.Linear(2, 2)]), nn.Linear(2, 2)])

    one = nn.Module()
    one.empty, one.deep = nn.ModuleList([nn.ReLU()]), nn.Module()
    one.deep.blocks = stack()
    assert decoder_stack(one) == ("deep.blocks", one.deep.blocks)
    one.more = stack()
    with pytest.raises(ModelError, match=r"exactly one stack of layers and has deep.blocks, more"):
        decoder_stack(one)
    with pytest.raises(ModelError, match="and has none"):
        decoder_stack(nn.Linear(2, 2))
