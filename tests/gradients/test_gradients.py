"""The persona objective's gradients, and the Fisher diagonal, against obvious oracles."""

import pytest
import torch
from torch.nn.functional import softplus

from prosopon.data import Encoded
from prosopon.errors import StatisticsError
from prosopon.gradients import (
    Material,
    Objective,
    fisher_diagonal,
    pair_log_odds,
)
from prosopon.gradients.objective import raise_likelihoods
from prosopon.models import find_sites
from tests.gradients.oracle import objective_gradients
from tests.statistics.conftest import random_examples
from tests.tiny import tiny_model


def answer_log_likelihoods(model, example, mask):
    logits = model(input_ids=torch.tensor([example.input_ids])).logits[0, :-1].log_softmax(-1)
    chosen = logits.gather(-1, torch.tensor(example.input_ids[1:]).unsqueeze(-1)).squeeze(-1)
    return chosen[torch.tensor(mask[1:])]


def slow_loss(model, pairs, general, objective, reference=None):
    odds, own = [], []
    tokens = sum(sum(target.response) for target, _ in pairs) / len(pairs)
    for number, (target, opposite) in enumerate(pairs):
        a = answer_log_likelihoods(model, target, target.response)
        b = answer_log_likelihoods(model, opposite, opposite.response)
        if q := objective.likelihood_power:
            a, b = ((side.exp() ** q - 1) / q for side in (a, b))
        margin = a.mean() - b.mean()
        if objective.log_odds == "shift":
            odds.append(softplus(reference[number] - (a.sum() - b.sum())) / tokens)
        else:
            odds.append(softplus(-margin) if objective.log_odds == "logistic" else -margin)
        own.append(a)
    loss = torch.stack(odds).mean() - objective.target_weight * torch.cat(own).mean()
    if general and objective.general_weight:
        every = [answer_log_likelihoods(model, t, t.scope) for t in general]
        loss = loss - objective.general_weight * torch.cat(every).mean()
    return loss


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize(
    "objective",
    [
        Objective(), Objective(0.0, 0.0, "linear"), Objective(0.5, 2.0, "logistic"),
        Objective(1.0, 0.5, "logistic", likelihood_power=0.3),
        Objective(1.0, 0.0, "linear", likelihood_power=1.0),
    ],
)  # fmt: skip
def test_gradients_against_the_slow_loss(family, objective):
    model, _ = tiny_model(family)
    sites = find_sites(model)
    pairs = list(zip(random_examples(5), random_examples(5, seed=1), strict=True))
    general = random_examples(4, seed=2)
    reference = torch.linspace(-4, 4, 5)
    got, loss = objective_gradients(
        model, sites, Material(pairs, reference, general), objective, max_tokens=100
    )
    for site in sites:
        site.weight.requires_grad_(True)
    expected = slow_loss(model, pairs, general, objective, reference)
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-4)
    for site in sites:
        torch.testing.assert_close(
            got[site.name], site.oriented(site.weight.grad), rtol=1e-3, atol=1e-5
        )


def test_a_power_near_zero_is_the_log_likelihood():
    values = -torch.rand(50, dtype=torch.float64) * 20
    assert raise_likelihoods(values, 0.0) is values
    torch.testing.assert_close(raise_likelihoods(values, 1e-6), values, rtol=1e-4, atol=0.0)
    torch.testing.assert_close(raise_likelihoods(values, 1.0), values.exp() - 1)
    assert not raise_likelihoods(torch.zeros(3), 0.3).any()  # where nothing counts


def test_gradients_do_not_depend_on_batches():
    model, _ = tiny_model("llama")
    sites = find_sites(model)
    pairs = list(zip(random_examples(6), random_examples(6, seed=1), strict=True))
    runs = [
        objective_gradients(
            model, sites, Material(pairs, torch.zeros(6)), Objective(), max_tokens=m
        )[0]
        for m in (1, 4096)
    ]
    for site in sites:
        torch.testing.assert_close(runs[0][site.name], runs[1][site.name], rtol=1e-3, atol=1e-6)
        assert site.weight.grad is None
        assert not site.weight.requires_grad


def test_exchange_flips_the_sign_of_the_bare_log_odds():
    model, _ = tiny_model("llama")
    sites = find_sites(model)
    ours, theirs = random_examples(4), random_examples(4, seed=1)
    bare = Objective(0.0, 0.0, "linear")
    ahead, back = (
        objective_gradients(
            model, sites, Material(list(zip(a, b, strict=True)), torch.zeros(4)), bare
        )[0]
        for a, b in ((ours, theirs), (theirs, ours))
    )
    for site in sites:
        torch.testing.assert_close(ahead[site.name], -back[site.name], rtol=1e-4, atol=1e-6)


def test_pair_log_odds_are_sums_in_the_order_of_the_pairs():
    model, _ = tiny_model("llama")
    pairs = list(zip(random_examples(6), random_examples(6, seed=1), strict=True))
    got = pair_log_odds(model, pairs, max_tokens=60)
    for value, (a, b) in zip(got, pairs, strict=True):
        ours = answer_log_likelihoods(model, a, a.response).sum()
        theirs = answer_log_likelihoods(model, b, b.response).sum()
        assert float(value) == pytest.approx(float(ours - theirs), rel=1e-4, abs=1e-3)


def test_fisher_at_positions_is_a_part_of_the_whole():
    model, _ = tiny_model("gpt2")
    sites = find_sites(model)
    texts = random_examples(3)
    at = {s.name: torch.tensor([0, 5, s.in_features + 1]) for s in sites}
    whole = fisher_diagonal(model, sites, texts)
    part = fisher_diagonal(model, sites, texts, at=at)
    for site in sites:
        torch.testing.assert_close(part[site.name], whole[site.name].reshape(-1)[at[site.name]])


def test_own_gradients_of_the_user_stay():
    model, _ = tiny_model("llama")
    sites = find_sites(model)
    kept = torch.ones_like(sites[0].weight)
    sites[0].weight.requires_grad_(True)
    sites[0].weight.grad = kept
    pairs = list(zip(random_examples(2), random_examples(2, seed=1), strict=True))
    objective_gradients(model, sites, Material(pairs, torch.zeros(2)), Objective())
    assert sites[0].weight.grad is kept
    assert sites[0].weight.requires_grad


def test_no_pairs():
    with pytest.raises(StatisticsError, match="no pairs"):
        Material([], torch.zeros(0))


def exact_fisher(model, sites, texts):
    """Expectation over every label of every token, one backward pass each."""
    totals = {site.name: torch.zeros(site.shape) for site in sites}
    tokens = 0
    for text in texts:
        logits = model(input_ids=torch.tensor([text.input_ids])).logits[0, :-1].log_softmax(-1)
        for row in logits:
            tokens += 1
            weights = [site.weight for site in sites]
            every = torch.eye(len(row))  # one label a row
            gradients = torch.autograd.grad(
                row, weights, every, retain_graph=True, is_grads_batched=True
            )
            for site, of_labels in zip(sites, gradients, strict=True):
                expected = (row.detach().exp()[:, None, None] * of_labels.square()).sum(0)
                totals[site.name] += site.oriented(expected)
    return {name: total / tokens for name, total in totals.items()}


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_fisher_is_unbiased(family):
    model, _ = tiny_model(family)
    sites = find_sites(model)[:3]
    text = Encoded([7, 30, 101, 45], [True] * 4, [True] * 4)
    # A hundred copies draw labels of their own, four times each.
    got = fisher_diagonal(model, sites, 100 * [text], draws=4, max_tokens=4096)
    for site in sites:
        site.weight.requires_grad_(True)
    expected = exact_fisher(model, sites, [text])
    for site in sites:
        ratio = got[site.name].sum() / expected[site.name].sum()
        assert ratio == pytest.approx(1.0, abs=0.2)
        both = torch.stack([got[site.name].flatten(), expected[site.name].flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.9


def test_fisher_depends_on_texts_and_seed_not_on_batches():
    model, _ = tiny_model("llama")
    sites = find_sites(model)
    texts = random_examples(7)
    small = fisher_diagonal(model, sites, texts, seed=3, max_tokens=1)
    large = fisher_diagonal(model, sites, texts, seed=3, max_tokens=10_000)
    other = fisher_diagonal(model, sites, texts, seed=4)
    for site in sites:
        torch.testing.assert_close(small[site.name], large[site.name], rtol=1e-3, atol=1e-6)
        assert (small[site.name] >= 0).all()
        assert not torch.equal(large[site.name], other[site.name])


def test_fisher_without_text():
    model, _ = tiny_model("llama")
    with pytest.raises(StatisticsError, match="no general text"):
        fisher_diagonal(model, find_sites(model), [])
