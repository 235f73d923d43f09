"""Finding sites in tiny models of every family, and refusing what cannot be masked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from prosopon.errors import ModelError, SiteError
from prosopon.models import Site, check_finite, find_sites
from tests.tiny import (
    EXPERT_FAMILIES,
    FAMILIES,
    HIDDEN,
    INTERMEDIATE,
    LAYERS,
    UNKNOWN_EXPERTS,
    tiny_model,
)

QKVO = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
GATED = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
GPT_NEO = [f"attn.attention.{name}" for name in ("k_proj", "v_proj", "q_proj", "out_proj")]
OPT = [f"self_attn.{name}" for name in ("k_proj", "v_proj", "q_proj", "out_proj")]

# The matrices of one layer, in module order.
LAYER_NAMES = {
    "llama": ("model.layers", [*QKVO, *GATED]),
    "mistral": ("model.layers", [*QKVO, *GATED]),
    "qwen2": ("model.layers", [*QKVO, *GATED]),
    "qwen3": ("model.layers", [*QKVO, *GATED]),
    "gemma": ("model.layers", [*QKVO, *GATED]),
    "phi": ("model.layers", [*QKVO[:3], "self_attn.dense", "mlp.fc1", "mlp.fc2"]),
    "gpt_neox": (
        "gpt_neox.layers",
        [
            "attention.query_key_value",
            "attention.dense",
            "mlp.dense_h_to_4h",
            "mlp.dense_4h_to_h",
        ],
    ),
    "gpt_neo": ("transformer.h", [*GPT_NEO, "mlp.c_fc", "mlp.c_proj"]),
    "opt": ("model.decoder.layers", [*OPT, "fc1", "fc2"]),
    "gpt2": ("transformer.h", ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]),
}


class Toy(nn.Module):
    """Two plain matrices and nothing of transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.second = nn.Linear(4, 3)


def by_name(sites: list[Site]) -> dict[str, Site]:
    return {site.name: site for site in sites}


def test_every_family_has_an_expectation() -> None:
    assert set(LAYER_NAMES) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_names_layers_and_roles_of_every_family(family: str) -> None:
    model, _ = tiny_model(family)
    sites = find_sites(model)
    prefix, inner = LAYER_NAMES[family]
    assert [site.name for site in sites] == [
        f"{prefix}.{layer}.{name}" for layer in range(LAYERS) for name in inner
    ]
    for site in sites:
        assert site.layer == int(site.name.removeprefix(prefix).split(".")[1])
        assert site.role == ("attention" if "att" in site.name else "mlp")
        assert site.module is model.get_submodule(site.name)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_matrix_is_what_the_module_multiplies_with(family: str) -> None:
    model, _ = tiny_model(family)
    for site in find_sites(model):
        matrix = site.matrix()
        assert tuple(matrix.shape) == site.shape == (site.out_features, site.in_features)
        inputs = torch.randn(3, site.in_features)
        bias = getattr(site.module, "bias", None)
        expected = inputs @ matrix.T + (0 if bias is None else bias)
        torch.testing.assert_close(site.module(inputs), expected)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_matrix_is_a_view_of_the_live_weight(family: str) -> None:
    model, _ = tiny_model(family)
    site = find_sites(model)[0]
    assert site.weight is site.module.weight
    assert site.matrix().data_ptr() == site.weight.data_ptr()
    assert not site.matrix().requires_grad
    site.matrix()[2, 5] = 7.0
    assert site.weight[(5, 2) if site.transposed else (2, 5)] == 7.0


def test_conv1d_is_turned_to_out_by_in_and_back() -> None:
    model, _ = tiny_model("gpt2")
    site = by_name(find_sites(model))["transformer.h.0.attn.c_attn"]
    assert site.transposed
    assert site.weight.shape == (HIDDEN, 3 * HIDDEN)
    assert site.shape == (3 * HIDDEN, HIDDEN)
    stored = torch.randn(site.weight.shape)
    assert site.oriented(stored).shape == site.shape
    assert torch.equal(site.oriented(site.oriented(stored)), stored)


def test_grouped_query_attention_keeps_its_narrow_keys() -> None:
    model, _ = tiny_model("llama")
    sites = by_name(find_sites(model))
    assert sites["model.layers.0.self_attn.k_proj"].shape == (HIDDEN // 2, HIDDEN)
    assert sites["model.layers.0.mlp.down_proj"].shape == (HIDDEN, INTERMEDIATE)
    assert not sites["model.layers.0.mlp.down_proj"].transposed


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_is_no_site_even_if_asked_for(family: str) -> None:
    model, _ = tiny_model(family)
    assert "lm_head" not in by_name(find_sites(model))
    assert find_sites(model, ignore=["lm_head"]) == find_sites(model)
    with pytest.raises(SiteError, match="head and embeddings are never pruned"):
        find_sites(model, targets=["lm_head"])


def test_the_head_is_known_by_what_the_model_says() -> None:
    class Headed(Toy):
        def get_output_embeddings(self) -> nn.Module:
            return self.second

    assert [site.name for site in find_sites(Headed())] == ["first"]


def test_targets_and_ignore() -> None:
    model, _ = tiny_model("llama")
    sites = find_sites(model, targets=["*.mlp.*"], ignore=["down_proj", "re:.*layers.0.*"])
    assert [site.name for site in sites] == [
        "model.layers.1.mlp.gate_proj",
        "model.layers.1.mlp.up_proj",
    ]


def test_patterns_that_match_nothing_or_leave_nothing() -> None:
    model, _ = tiny_model("llama")
    with pytest.raises(SiteError, match=r"'c_fc' matches no site.*q_proj"):
        find_sites(model, targets=["c_fc"])
    with pytest.raises(SiteError, match="leave no site of LlamaForCausalLM"):
        find_sites(model, ignore=["*"])


def test_a_model_without_matrices() -> None:
    with pytest.raises(SiteError, match="Sequential has no prunable weight matrix"):
        find_sites(nn.Sequential(nn.LayerNorm(3)))


class TestFusedExperts:
    @pytest.mark.parametrize("family", EXPERT_FAMILIES)
    def test_every_expert_has_two_sites(self, family: str) -> None:
        model, _ = tiny_model(family)
        experts = model.model.layers[1].mlp.experts
        parameter = "model.layers.1.mlp.experts.gate_up_proj"
        sites = [site for site in find_sites(model) if site.parameter == parameter]
        assert [site.name for site in sites] == [
            f"{parameter}.{number}" for number in range(experts.num_experts)
        ]
        for number, site in enumerate(sites):
            assert (site.layer, site.role, site.expert) == (1, "mlp", number)
            assert (site.out_features % 2, site.in_features) == (0, HIDDEN)
            stored = experts.gate_up_proj[number]
            assert torch.equal(site.matrix(), stored.T if family == "gpt_oss" else stored)
            site.matrix()[0, 1] = 7.0  # writes the model
            assert (stored[1, 0] if family == "gpt_oss" else stored[0, 1]) == 7.0
        names = [site.name for site in find_sites(model, targets=["down_proj.2"])]
        assert names == [f"model.layers.{layer}.mlp.experts.down_proj.2" for layer in (0, 1)]

    def test_an_unknown_layout_is_refused_by_name_with_the_way_out(self) -> None:
        model, _ = tiny_model(UNKNOWN_EXPERTS)
        with pytest.raises(SiteError, match=r"fused experts .*laid out in a way") as caught:
            find_sites(model)
        assert "model.layers.0.feed_forward.experts.gate_up_proj" in str(caught.value)
        assert "--ignore '*experts*'" in str(caught.value)
        assert find_sites(model, ignore=["*experts*"])

    def test_experts_of_one_memory_are_refused(self) -> None:
        model, _ = tiny_model("mixtral")
        first, second = (layer.mlp.experts for layer in model.model.layers)
        second.down_proj = first.down_proj
        with pytest.raises(SiteError, match=r"ignore 'model.layers.0.mlp.experts.down_proj\.\*'"):
            find_sites(model)

    def test_experts_elsewhere_or_quantised_are_refused(self) -> None:
        model, _ = tiny_model("mixtral")
        experts = model.model.layers[0].mlp.experts
        whole = experts.down_proj
        experts.down_proj = nn.Parameter(whole.to(torch.int8), requires_grad=False)
        with pytest.raises(SiteError, match=r"down_proj\.0' is quantised .*stored as int8"):
            find_sites(model)
        experts.down_proj = nn.Parameter(whole.to("meta"))
        with pytest.raises(SiteError, match=r"down_proj\.0' has no weights in memory"):
            find_sites(model)

    def test_ignoring_them_leaves_them_dense(self) -> None:
        model, _ = tiny_model("mixtral")
        sites = find_sites(model, ignore=["*experts*"])
        assert [site.role for site in sites] == ["attention"] * 4 * LAYERS

    def test_targets_that_avoid_them_are_fine(self) -> None:
        model, _ = tiny_model("mixtral")
        assert len(find_sites(model, targets=["q_proj"])) == LAYERS

    def test_experts_that_are_modules_are_sites(self) -> None:
        model = nn.Module()
        model.experts = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        assert [site.name for site in find_sites(model)] == ["experts.0", "experts.1"]


class TestUnusableWeights:
    @pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn])
    def test_quantised_dtypes(self, dtype: torch.dtype) -> None:
        model = Toy()
        model.second.weight = nn.Parameter(torch.zeros(3, 4).to(dtype), requires_grad=False)
        with pytest.raises(SiteError, match="'second' is quantised") as caught:
            find_sites(model)
        assert str(dtype).removeprefix("torch.") in str(caught.value)
        assert [site.name for site in find_sites(model, ignore=["second"])] == ["first"]

    def test_parameter_subclasses_such_as_bitsandbytes(self) -> None:
        class Params4bit(nn.Parameter):
            pass

        model = Toy()
        model.second.weight = Params4bit(torch.zeros(3, 4))
        with pytest.raises(SiteError, match="of the type Params4bit"):
            find_sites(model)

    def test_packed_layers_such_as_gptq(self) -> None:
        class QuantLinear(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("qweight", torch.zeros(3, 1, dtype=torch.int32))

        model: Any = Toy()
        model.second = QuantLinear()
        with pytest.raises(SiteError, match="packed by QuantLinear"):
            find_sites(model)

    def test_parametrised_weights(self) -> None:
        model = Toy()
        nn.utils.parametrizations.weight_norm(model.second)
        with pytest.raises(SiteError, match="'second' is quantised or not a plain weight"):
            find_sites(model)

    def test_weights_that_are_not_in_memory(self) -> None:
        model = Toy()
        model.second.to("meta")
        with pytest.raises(SiteError, match="'second' has no weights in memory"):
            find_sites(model)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_floating_dtypes_are_fine(self, dtype: torch.dtype) -> None:
        assert len(find_sites(Toy().to(dtype))) == 2


class TestSharedMemory:
    def test_two_sites_with_one_parameter(self) -> None:
        model = Toy()
        model.second.weight = model.first.weight
        with pytest.raises(SiteError, match="both; ignore 'first' and 'second'"):
            find_sites(model)
        with pytest.raises(SiteError, match="leave no site"):
            find_sites(model, ignore=["first", "second"])

    def test_two_sites_with_one_storage(self) -> None:
        model = Toy()
        model.second.weight = nn.Parameter(model.first.weight.detach().view(3, 4))
        with pytest.raises(SiteError, match="shares its memory"):
            find_sites(model)

    def test_partial_overlap(self) -> None:
        model = Toy()
        whole = torch.randn(5, 4)
        model.first.weight, model.second.weight = nn.Parameter(whole[:3]), nn.Parameter(whole[2:])
        with pytest.raises(SiteError, match="shares its memory"):
            find_sites(model)

    def test_neighbours_in_one_storage_are_fine(self) -> None:
        model = Toy()
        whole = torch.randn(6, 4)
        model.first.weight, model.second.weight = nn.Parameter(whole[:3]), nn.Parameter(whole[3:])
        assert len(find_sites(model)) == 2

    def test_one_module_under_two_names(self) -> None:
        model = Toy()
        model.second = model.first
        with pytest.raises(SiteError, match="shares its memory"):
            find_sites(model)

    @pytest.mark.parametrize("ignored", ["first", "second"])
    def test_sharing_with_what_is_not_a_site(self, ignored: str) -> None:
        model = Toy()
        model.second.weight = model.first.weight
        with pytest.raises(SiteError, match=r"^'(first|second)\.weight' shares") as caught:
            find_sites(model, ignore=[ignored])
        kept = "second" if ignored == "first" else "first"
        assert str(caught.value).endswith(f"; ignore {kept!r}")

    def test_a_small_site_inside_a_large_parameter(self) -> None:
        model: Any = Toy()
        whole = torch.randn(20, 4)
        model.pool = nn.Parameter(whole)
        model.second.weight = nn.Parameter(whole[10:13])
        with pytest.raises(SiteError, match=r"'second\.weight' shares its memory with 'pool'"):
            find_sites(model)

    def test_tied_embeddings_are_fine(self) -> None:
        model, _ = tiny_model("gemma")
        assert model.lm_head.weight is model.model.embed_tokens.weight
        assert find_sites(model)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_weights_that_are_not_finite(family: str, value: float) -> None:
    model, _ = tiny_model(family)
    sites = find_sites(model)
    check_finite(sites)
    bad = sites[3]
    bad.matrix()[1, 2] = value
    bad.matrix()[0, 0] = value
    with pytest.raises(ModelError, match="2 of") as caught:
        check_finite(sites)
    assert bad.name in str(caught.value)
    check_finite(sites[:3])
