"""Fused experts run one by one, seen as matrices of their own."""

import copy

import pytest
import torch

from prosopon.models import find_sites
from prosopon.models.experts import IMPLEMENTATION, apart, expert_matrices, is_fused
from tests.experts import expert_sites, unfused
from tests.tiny import EXPERT_FAMILIES, UNKNOWN_EXPERTS, tiny_model

IDS = torch.arange(6, 40).view(2, 17)


@torch.no_grad()
def logits(model):
    return model(IDS).logits


@pytest.mark.parametrize("family", EXPERT_FAMILIES)
def test_the_model_computes_the_same_apart_and_as_plain_matrices(family):
    model, _ = tiny_model(family)
    sites, base = expert_sites(model), logits(model)
    calls = []
    for site in sites:
        site.module.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    assert torch.equal(logits(model), base)
    assert not calls
    with apart(site.module for site in sites):
        torch.testing.assert_close(logits(model), base)
        # Every token comes to two experts, each of two matrices, in both layers.
        assert sum(calls) == IDS.numel() * 2 * 2 * 2
    assert torch.equal(logits(model), base)
    torch.testing.assert_close(logits(unfused(model)[0]), base, rtol=1e-4, atol=1e-4)


def test_blocks_may_overlap_and_the_last_one_puts_the_own_implementation_back():
    model, _ = tiny_model("mixtral")
    experts, config = model.model.layers[0].mlp.experts, model.config
    matrices = expert_matrices(experts)["down_proj"]
    first, second = apart(matrices), apart(matrices[:1])
    first.__enter__()
    second.__enter__()
    assert experts.config._experts_implementation == IMPLEMENTATION
    assert model.model.layers[1].mlp.experts.config is config
    first.__exit__(None, None, None)
    assert experts.config._experts_implementation == IMPLEMENTATION
    second.__exit__(None, None, None)
    assert experts.config is config
    with pytest.raises(ZeroDivisionError), apart(matrices):
        raise ZeroDivisionError
    assert experts.config is config
    assert config._experts_implementation == "grouped_mm"


def test_plain_modules_are_passed_over():
    model, _ = tiny_model("llama")
    with apart(site.module for site in find_sites(model)):
        assert not any(is_fused(module) for module in model.modules())


def test_a_matrix_knows_the_tokens_that_came_to_it():
    model, _ = tiny_model("qwen3_moe")
    router, routes = model.model.layers[0].mlp.gate, []
    router.register_forward_hook(lambda module, args, out: routes.append(out[-1]))
    matrices = expert_matrices(model.model.layers[0].mlp.experts)["gate_up_proj"]
    with apart(matrices):
        logits(model)
    for number, matrix in enumerate(matrices):
        tokens, total = matrix.routed
        assert total == IDS.numel()
        assert tokens.tolist() == [t for t, row in enumerate(routes[0].tolist()) if number in row]


def test_a_view_follows_its_model():
    model, _ = tiny_model("mixtral")
    sites = expert_sites(model)
    again = expert_sites(model)
    assert all(a.module is b.module for a, b in zip(sites, again, strict=True))
    site = sites[4]
    assert site.weight is site.weight
    model.double()
    assert site.weight.dtype == torch.float64
    assert torch.equal(site.weight, site.module.whole[site.expert])
    model.model.layers[0].mlp.experts.gate_up_proj.data = torch.zeros(3, 96, 32)
    assert not any(s.weight.any() for s in sites if s.parameter == sites[0].parameter)


def test_a_copy_of_a_model_has_views_of_its_own():
    model, _ = tiny_model("mixtral")
    site = expert_sites(model)[0]
    value = site.weight[0, 0].item()
    other = copy.deepcopy(model)
    twin = expert_sites(other)[0]
    twin.matrix()[0, 0] = 9.0
    assert other.model.layers[0].mlp.experts.gate_up_proj[0, 0, 0] == 9.0
    assert site.weight[0, 0] == value
    assert twin.module.experts is other.model.layers[0].mlp.experts


def test_views_are_no_part_of_the_model():
    model, _ = tiny_model("mixtral")
    before = set(model.state_dict()), {name for name, _ in model.named_modules()}
    expert_sites(model)
    assert (set(model.state_dict()), {name for name, _ in model.named_modules()}) == before


def test_an_unknown_layout_is_no_stack_of_experts():
    model, _ = tiny_model(UNKNOWN_EXPERTS)
    assert not any(is_fused(module) for module in model.modules())
    model, _ = tiny_model("mixtral")
    experts = model.model.layers[0].mlp.experts
    assert is_fused(experts)
    experts._is_expert_parallel = True  # holds some of the experts only
    assert not is_fused(experts)
