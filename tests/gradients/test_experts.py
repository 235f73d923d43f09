"""Gradients and the Fisher diagonal of the experts of a fused parameter."""

import pytest
import torch

from prosopon.gradients import Material, Objective, fisher_diagonal
from prosopon.models import find_sites
from tests.experts import expert_sites, plain_sites, starve
from tests.gradients.oracle import objective_gradients
from tests.gradients.test_gradients import slow_loss
from tests.gradients.test_streaming import fisher_of_one_text_at_a_time
from tests.statistics.conftest import random_examples
from tests.tiny import EXPERT_FAMILIES, tiny_model


@pytest.mark.parametrize("family", EXPERT_FAMILIES)
def test_gradients_are_those_of_plain_matrices(family):
    model, _ = tiny_model(family)
    sites = find_sites(model)
    pairs = list(zip(random_examples(3), random_examples(3, seed=1), strict=True))
    material = Material(pairs, torch.zeros(3), random_examples(2, seed=2))
    got, loss = objective_gradients(model, sites, material, Objective(), max_tokens=100)
    other, plain = plain_sites(model)
    for site in plain:
        site.weight.requires_grad_(True)
    expected = slow_loss(other, pairs, material.general, Objective(), torch.zeros(3))
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-4)
    for site in plain:
        torch.testing.assert_close(got[site.name], site.weight.grad, rtol=1e-3, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(site.weight.requires_grad for site in sites)


@pytest.mark.parametrize("family", ["mixtral", "gpt_oss"])
def test_fisher_is_that_of_plain_matrices(family):
    model, _ = tiny_model(family)
    texts = random_examples(3, longest=9)
    got = fisher_diagonal(model, find_sites(model), texts, seed=5)
    other, plain = plain_sites(model)
    expected = fisher_of_one_text_at_a_time(other, plain, texts, 5, 1)
    for site in plain:
        torch.testing.assert_close(got[site.name], expected[site.name], rtol=2e-3, atol=1e-6)


def test_an_expert_that_no_token_came_to_has_no_gradient_and_does_no_damage():
    model, _ = tiny_model("mixtral")
    starve(model, 0)
    sites = expert_sites(model)
    pairs = list(zip(random_examples(2), random_examples(2, seed=1), strict=True))
    gradients, _ = objective_gradients(model, sites, Material(pairs, torch.zeros(2)), Objective())
    fisher = fisher_diagonal(model, sites, random_examples(2))
    for site in sites:
        assert bool(gradients[site.name].any()) is (site.expert != 0)
        assert bool(fisher[site.name].any()) is (site.expert != 0)
