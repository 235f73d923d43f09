"""MLP channels and attention heads of every family, against ablation by hand."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from prosopon.errors import SiteError, UnknownNameError
from prosopon.models import find_groups, find_sites
from prosopon.models.groups import COLUMNS, ROWS, Group, Part
from tests import tiny

# Where each family's channels and heads come together again, and how wide its MLP is.
DOWN = {
    "phi": ("mlp.fc2", "self_attn.dense"),
    "gpt_neox": ("mlp.dense_4h_to_h", "attention.dense"),
    "gpt_neo": ("mlp.c_proj", "attn.attention.out_proj"),
    "opt": ("fc2", "self_attn.out_proj"),
    "gpt2": ("mlp.c_proj", "attn.c_proj"),
    "phi3": ("mlp.down_proj", "self_attn.o_proj"),
    "gptj": ("mlp.fc_out", "attn.out_proj"),
}
MORE = ("phi3", "gptj")  # fused halves; a family of its own, built here
GROUPED = ("llama", "mistral", "qwen2", "qwen3", "gemma", "phi", "phi3")
FIELDS = {"opt": "ffn_dim", "gpt2": "n_inner", "gptj": "n_inner"}
IDS = torch.arange(3, 27).view(2, 12)


def build(family):
    if family not in MORE:
        return tiny.tiny_model(family)[0]
    from transformers import AutoConfig, AutoModelForCausalLM

    if family == "gptj":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 4}
    else:
        sizes = {
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "intermediate_size": 48, "pad_token_id": 0,
        }  # fmt: skip
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, vocab_size=64, initializer_range=0.2, **sizes)
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


def down_of(family, kind):
    mlp, attention = DOWN.get(family, ("mlp.down_proj", "self_attn.o_proj"))
    return mlp if kind == "channels" else attention


def logits(model):
    return model(IDS).logits


@contextmanager
def ablated(model, name, channels):
    """Zero some input channels of a module: what a removed unit hands on is nothing."""

    def hook(_module, args):
        value = args[0].clone()
        value[..., channels] = 0
        return (value, *args[1:])

    handle = model.get_submodule(name).register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def masked(sites, group, units, axes=(ROWS, COLUMNS)):
    """Zero what the units own in the weights, on some axes only."""
    before = {site.name: site.matrix().clone() for site in sites}
    kept = torch.ones(group.units, dtype=torch.bool)
    kept[units] = False
    part_of = Group(
        group.kind, group.name, tuple(part for part in group.parts if part.axis in axes)
    )
    try:
        for site in sites:
            keep = torch.ones(site.shape, dtype=torch.bool)
            part_of.prune(site.name, keep, kept)
            site.matrix().mul_(keep)
        yield
    finally:
        for site in sites:
            site.matrix().copy_(before[site.name])


@pytest.mark.parametrize("kind", ["channels", "heads"])
@pytest.mark.parametrize("family", [*tiny.FAMILIES, *MORE])
def test_masking_a_unit_is_ablating_it(family, kind):
    model = build(family)
    sites = find_sites(model)
    groups = find_groups(model, sites, kind)
    assert [group.layer for group in groups] == [0, 1]
    group = groups[1]
    down = next(
        site for site in sites if site.layer == 1 and site.name.endswith(down_of(family, kind))
    )
    if kind == "channels":
        inner = {"gpt2": 128, "gpt_neo": 128, "gptj": 128}.get(family, tiny.INTERMEDIATE)
        assert (group.units, down.in_features) == (inner, inner)
        units, channels = [3, inner - 1], [3, inner - 1]
        assert group.shrinks == {FIELDS.get(family, "intermediate_size"): 1}
    else:
        ratio = 2 if family in GROUPED else 1
        assert group.units == 4 // ratio
        units, channels = [1], list(range(ratio * 8, 2 * ratio * 8))
        assert group.shrinks["num_attention_heads"] == ratio
        assert group.shrinks.get("num_key_value_heads", 1) == 1
    base = logits(model)
    with ablated(model, down.name, channels):
        expected = logits(model)
    assert (expected - base).abs().max() > 1e-2
    # Rows and columns each do it alone (these models' biases are zero), and so they do together.
    for axes in ((ROWS, COLUMNS), (ROWS,), (COLUMNS,)):
        with masked(sites, group, units, axes):
            assert torch.allclose(logits(model), expected, atol=1e-5)
    assert torch.equal(logits(model), base)


@pytest.mark.parametrize("kind", ["channels", "heads"])
@pytest.mark.parametrize("family", [*tiny.FAMILIES, *MORE])
def test_the_units_own_every_weight_of_their_sites_but_once(family, kind):
    """All lines of what goes up and of what comes down belong to exactly one unit."""
    model = build(family)
    sites = find_sites(model)
    role = "mlp" if kind == "channels" else "attention"
    owned = {}
    for group in find_groups(model, sites, kind):
        for part in group.parts:
            assert part.site not in owned
            owned[part.site] = part
    assert set(owned) == {site.name for site in sites if site.role == role}
    for site in sites:
        if site.role == role:
            part = owned[site.name]
            lines = torch.arange(site.shape[part.axis])
            assert torch.equal(part.indices.flatten().sort().values, lines)


def test_the_rest_of_the_layer_may_be_left_out():
    model = tiny.tiny_model("llama")[0]
    sites = find_sites(model, targets=["layers.1.mlp.*"])
    (group,) = find_groups(model, sites, "channels")
    assert group.name == "model.layers.1.mlp"
    with pytest.raises(SiteError, match="no heads to choose from: none of the 3 sites"):
        find_groups(model, sites, "heads")


def test_half_a_unit_is_refused_by_name():
    model = tiny.tiny_model("llama")[0]
    sites = find_sites(model, ignore=["up_proj"])
    with pytest.raises(SiteError, match=r"need the site 'model.layers.0.mlp.up_proj'"):
        find_groups(model, sites, "channels")
    with pytest.raises(UnknownNameError, match="Choices: channels, heads"):
        find_groups(model, sites, "layers")


def test_what_is_not_known_is_refused():
    model = tiny.tiny_model("llama")[0]
    model.model.layers[1].self_attn.gate_proj = torch.nn.Linear(32, 4, bias=False)
    with pytest.raises(SiteError, match=r"heads of 'model.layers.1.self_attn'.* not known"):
        find_groups(model, find_sites(model), "heads")
    sites = find_sites(model, ignore=["self_attn.gate_proj"])
    with pytest.raises(SiteError, match=r"holds 'gate_proj.weight' \(\[4, 32\]\)"):
        find_groups(model, sites, "heads")


def test_a_norm_over_all_heads_is_refused_and_one_per_head_is_not():
    model = tiny.tiny_model("qwen3")[0]
    find_groups(model, find_sites(model), "heads")
    model.model.layers[0].self_attn.q_norm = torch.nn.LayerNorm(32, bias=False)
    with pytest.raises(SiteError, match=r"holds 'q_norm.weight' \(\[32\]\)"):
        find_groups(model, find_sites(model), "heads")


def test_fused_rows_of_an_unknown_order_are_refused():
    model = tiny.tiny_model("gpt2")[0]
    model.config.model_type = "gpt_other"
    find_groups(model, find_sites(model), "channels")
    with pytest.raises(SiteError, match="c_attn, c_proj; model type 'gpt_other'"):
        find_groups(model, find_sites(model), "heads")


def test_shapes_that_do_not_fit_are_refused():
    model = tiny.tiny_model("llama")[0]
    model.model.layers[0].mlp.up_proj = torch.nn.Linear(32, 40, bias=False)
    with pytest.raises(SiteError, match="has 40 outputs where 48 would belong to the 48 inputs"):
        find_groups(model, find_sites(model), "channels")
    model.model.layers[0].self_attn.k_proj = torch.nn.Linear(32, 24, bias=False)
    model.model.layers[0].self_attn.v_proj = torch.nn.Linear(32, 24, bias=False)
    with pytest.raises(SiteError, match="4 query heads of 8 and 3 key-value heads"):
        find_groups(model, find_sites(model), "heads")
    model.config.num_attention_heads = 2
    with pytest.raises(SiteError, match="config says 2 heads"):
        find_groups(model, find_sites(model, targets=["layers.1.*"]), "heads")


def test_parts_of_different_units_are_no_group():
    parts = Part("a", 0, torch.arange(4).view(4, 1)), Part("b", 1, torch.arange(6).view(3, 2))
    with pytest.raises(ValueError, match="one number of units"):
        Group("channels", "x", parts)
