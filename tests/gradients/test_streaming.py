"""Streaming against whole backward passes, the Fisher diagonal against one text at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prosopon.errors import StatisticsError
from prosopon.gradients import (
    Material,
    Objective,
    fisher_diagonal,
    objective_terms,
    pair_log_odds,
    stream_gradients,
    sum_gradients,
)
from prosopon.gradients.objective import pair_batches
from prosopon.models import find_sites
from tests.statistics.conftest import random_examples
from tests.tiny import tiny_model


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)

    def forward(self, x):
        return self.down(self.up(x).tanh())


@pytest.fixture
def toy():
    model = Two().requires_grad_(False)
    return model, find_sites(model)


def inputs(count=3):
    return [torch.randn(5, 3, generator=torch.Generator().manual_seed(n)) for n in range(count)]


def pairs(count, start=0):
    sides = (random_examples(count, seed=start + side) for side in (0, 1))
    return list(zip(*sides, strict=True))


def test_the_sum_of_streamed_gradients_is_the_gradient_of_the_sum(toy):
    model, sites = toy
    got, loss = sum_gradients(sites, (model(x).square().sum() for x in inputs()))
    model.requires_grad_(True)
    whole = sum(model(x).square().sum() for x in inputs())
    assert loss == pytest.approx(float(whole.detach()))
    expected = torch.autograd.grad(whole, [site.weight for site in sites])
    for site, gradient in zip(sites, expected, strict=True):
        torch.testing.assert_close(got[site.name], gradient)


def test_every_term_hands_on_the_sites_that_it_reaches(toy):
    model, sites = toy
    seen = []
    x = inputs(1)[0]
    terms = (term() for term in (lambda: model(x).sum(), lambda: model.up(x).square().sum()))
    stream_gradients(sites, terms, lambda site, gradient: seen.append((site.name, gradient.shape)))
    up, down = ("up", (4, 3)), ("down", (2, 4))
    assert sorted(seen[:2]) == [down, up]
    assert seen[2:] == [up]


def test_only_one_gradient_is_there_at_a_time(toy):
    model, sites = toy

    def look(site, gradient):
        assert gradient is not None
        assert all(other.weight.grad is None for other in sites)

    stream_gradients(sites, (model(x).sum() for x in inputs()), look)


@pytest.mark.parametrize("broken", ["term", "consumer"])
def test_flags_and_hooks_are_as_before_also_after_an_exception(toy, broken):
    model, sites = toy

    def terms():
        yield model(inputs(1)[0]).sum()
        raise ZeroDivisionError

    def consume(site, gradient):
        if broken == "consumer":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stream_gradients(sites, terms(), consume)
    assert not any(site.weight.requires_grad for site in sites)
    assert all(site.weight.grad is None for site in sites)
    got, _ = sum_gradients(sites, [])
    assert not any(gradient.any() for gradient in got.values())


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_a_gradient_that_is_none_names_its_site(toy, odd):
    model, sites = toy
    with pytest.raises(StatisticsError, match="gradient of site 'up' is NaN or infinite"):
        sum_gradients(sites, (odd * model.up(x).sum() for x in inputs()))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 300), st.integers(0, 99))
def test_every_pair_comes_once_targets_first(count, most, seed):
    asked, places = pairs(count, seed), []
    for batch, indices in pair_batches(asked, most):
        rows = 2 * len(indices)
        assert len(batch) == rows
        assert len(indices) == 1 or batch.input_ids.numel() <= most
        for row, index in enumerate(indices):
            for place, side in ((row, 0), (row + len(indices), 1)):
                tokens = batch.input_ids[place][batch.attention_mask[place].bool()]
                assert tokens.tolist() == list(asked[index][side].input_ids)
        places += indices
    assert sorted(places) == list(range(count))


def value(model, material, objective):
    with torch.no_grad():
        return sum(float(term) for term in objective_terms(model, material, objective))


def test_the_terms_add_up_and_each_is_as_heavy_as_its_weight():
    model, _ = tiny_model("llama")
    own, others = pairs(3), pairs(2, 7)
    reference = pair_log_odds(model, own) - 1
    protected = pair_log_odds(model, others) + torch.tensor([0.5, -2.0])
    material = Material(own, reference, random_examples(2, seed=5), others, protected)
    base = value(model, material, Objective(0.0, 0.0, "shift", 0.0))
    for name in ("target_weight", "general_weight", "protect_weight"):
        nothing = {"target_weight": 0.0, "general_weight": 0.0, "protect_weight": 0.0}
        once = value(model, material, Objective(**nothing | {name: 1.0})) - base
        twice = value(model, material, Objective(**nothing | {name: 2.0})) - base
        assert once > 0
        assert twice == pytest.approx(2 * once, rel=1e-4)


def test_protected_odds_that_have_not_moved_cost_nothing_and_others_by_both_signs():
    model, _ = tiny_model("llama")
    own, others = pairs(2), pairs(2, 7)
    there = pair_log_odds(model, others)

    def cost(moved):
        material = Material(own, torch.zeros(2), (), others, there + torch.tensor(moved))
        bare = value(model, material, Objective(0.0, 0.0, "linear", 0.0))
        return value(model, material, Objective(0.0, 0.0, "linear", 1.0)) - bare

    tokens = sum(sum(target.response) for target, _ in others)
    assert cost([0.0, 0.0]) == pytest.approx(0.0, abs=1e-5)
    assert cost([3.0, 0.0]) == pytest.approx((10**0.5 - 1) / tokens, rel=1e-3)
    assert cost([3.0, 0.0]) == pytest.approx(cost([-3.0, 0.0]), rel=1e-3)


def test_exchanged_sides_have_exchanged_odds():
    model, _ = tiny_model("gpt2")
    asked = pairs(4)
    there = pair_log_odds(model, asked, max_tokens=50)
    back = pair_log_odds(model, [(theirs, ours) for ours, theirs in asked])
    torch.testing.assert_close(there, -back, rtol=1e-4, atol=1e-3)
    assert pair_log_odds(model, []).shape == (0,)


def test_a_part_of_the_material_has_its_own_references():
    own, others = pairs(4), pairs(3, 9)
    texts = random_examples(2)
    material = Material(own, torch.arange(4.0), texts, others, torch.arange(3.0) + 10)
    part = material.part([2, 0], [1], [2])
    assert part.pairs == [own[2], own[0]]
    assert part.reference.tolist() == [2, 0]
    assert (part.general, part.protected) == ([texts[1]], [others[2]])
    assert part.protected_reference.tolist() == [12]
    with pytest.raises(StatisticsError, match="no pairs"):
        material.part([], [0], [])


def fisher_of_one_text_at_a_time(model, sites, texts, seed, draws):
    """Draw every label by walking through the probabilities; one whole gradient a text."""
    for site in sites:
        site.weight.requires_grad_(True)
    totals, tokens = {site.name: torch.zeros(site.shape) for site in sites}, 0
    for draw in range(draws):
        for index, text in enumerate(texts):
            generator = torch.Generator().manual_seed((seed * 1_000_003 + draw) * 1_000_003 + index)
            drawn = iter(torch.rand(len(text.input_ids) - 1, generator=generator).tolist())
            scores = model(input_ids=torch.tensor([text.input_ids])).logits[0, :-1].log_softmax(-1)
            chosen = []
            for row, counts in zip(scores, text.scope[1:], strict=True):
                if not counts:
                    continue
                label, reached, limit = -1, 0.0, next(drawn)
                while reached < limit:
                    label += 1
                    reached += float(row[label].detach().exp())
                chosen.append(row[label])
            tokens += len(chosen)
            weights = [site.weight for site in sites]
            gradients = torch.autograd.grad(  # zeros of an expert that no token came to
                torch.stack(chosen).sum(), weights, materialize_grads=True
            )
            for site, gradient in zip(sites, gradients, strict=True):
                totals[site.name] += site.oriented(gradient).square()
    return {name: total / tokens for name, total in totals.items()}


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_fisher_is_the_mean_square_of_whole_gradients(family):
    model, _ = tiny_model(family)
    sites, texts = find_sites(model), random_examples(3, longest=9)
    seen = []
    got = fisher_diagonal(model, sites, texts, seed=5, draws=2, progress=seen.append)
    expected = fisher_of_one_text_at_a_time(model, sites, texts, 5, 2)
    for site in sites:
        torch.testing.assert_close(got[site.name], expected[site.name], rtol=2e-3, atol=1e-6)
    assert sum(seen) == 2 * len(texts)
    assert not any(site.module._forward_hooks for site in sites)
