"""A budget of loss: the mask costs general text what is allowed, and no more."""

import pytest
import torch

from prosopon.criteria import CRITERIA
from prosopon.errors import OptionError
from prosopon.extraction.light.budget import Budget
from prosopon.extraction.light.pruning import temporary_pruning
from prosopon.extraction.light.validation import mean_loss
from prosopon.gradients import Anchor
from prosopon.models import find_sites
from prosopon.runtime import worn
from tests.extraction.light.conftest import COLD, WARM
from tests.extraction.light.test_path import path
from tests.statistics.conftest import random_examples
from tests.tiny import tiny_model


@pytest.fixture
def model():
    return tiny_model("llama")[0]


def fields(subnetwork):
    return subnetwork.config.model_dump()


def test_the_mask_is_nearly_the_largest_that_the_limit_allows(model):
    sites, texts = find_sites(model), random_examples(6, seed=9)
    before = {site.name: site.weight.clone() for site in sites}
    base = mean_loss(model, texts)
    grown = path(model, largest=2000)
    for limit in (1e-4, 1e-3, 1e-2):
        budget = Budget(model, sites, texts, limit=limit, count=2000)
        ranking, notes = budget.spend(grown)
        assert budget.rise(ranking, base) == pytest.approx(notes["general_loss"])
        assert notes["general_loss"] <= limit
        assert notes["damage"] == grown.damage_weight
        dearer = grown.ranking(2000, notes["damage"] / 4)
        assert len(dearer) >= len(ranking)
        if len(dearer) > len(ranking) and notes["general_loss"] < limit / 2:
            # A lambda four times lower is beyond the limit, or the search would have taken it.
            assert budget.rise(dearer, base) > limit
    assert all(torch.equal(site.weight, before[site.name]) for site in sites)


def test_what_a_mask_costs_is_the_loss_less_the_base_models(model):
    sites, texts = find_sites(model), random_examples(40, seed=9)
    ranking = path(model).ranking(50)
    base = mean_loss(model, texts)
    with temporary_pruning(sites) as prune:
        prune(ranking.positions)
        loss = mean_loss(model, texts)
    budget = Budget(model, sites, texts, limit=1.0, count=50)
    assert budget.rise(ranking, base) == pytest.approx(loss - base)


def test_the_price_of_a_damage_is_that_of_the_mask_that_does_it(model):
    grown = path(model, largest=100_000)
    whole = grown.damage(grown.ranking(100_000, 0.0))
    for part in (0.5, 0.1, 0.01):
        mask = grown.ranking(100_000, grown.price(part * whole))
        slow = sum(
            float(grown._damages[name][grown._positions[name] == position])
            for name, flat in mask.positions.items()
            for position in flat
        )
        assert grown.damage(mask) == pytest.approx(slow, rel=1e-4)
        assert 0.8 * part * whole <= slow <= part * whole * 1.001
    assert grown.price(2 * whole) == 0  # everything may go


def test_a_round_is_done_under_a_mask_that_is_tried_first(model):
    sites, texts = find_sites(model), random_examples(8, seed=9)
    for limit in (1e-3, 1e-2):
        grown = path(model, largest=2000, kl_weight=1.0, anchor=Anchor(model, texts))
        budget = Budget(model, sites, texts, limit=limit, count=2000)
        trials = []
        step = grown.step
        grown.step = lambda trial, step=step, trials=trials: (trials.append(trial), step(trial))
        budget._foreseen = 20 * limit
        first = grown.trial(grown.ranking(2000, grown.price(20 * limit)))
        assert first.divergence > 3 * limit  # the first try costs too much
        budget.step(grown)
        assert len(trials[0].mask) > 0
        assert trials[0].divergence <= 2 * limit
        assert grown.texts_forward >= 4  # the first try's, of which no gradient is taken
        assert not grown.texts_forward % 4
        budget.step(grown)
        assert grown.rounds == 3
    with torch.no_grad():
        base = sum(float(term) for term in Anchor(model, texts).terms(model))
    assert base == pytest.approx(0, abs=1e-6)  # the weights are back


def test_where_nothing_is_harmless_nothing_goes(model):
    grown = path(model)
    budget = Budget(model, find_sites(model), random_examples(4), limit=-1.0, count=100)
    ranking, notes = budget.spend(grown)
    assert len(ranking) == 0
    assert notes["general_loss"] == 0.0


def test_a_broken_model_is_beyond_every_limit(model):
    sites, texts = find_sites(model), random_examples(4)
    budget = Budget(model, sites, texts, limit=1e9, count=100)
    ranking = path(model).ranking(10)
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(float("nan"))
    assert budget.rise(ranking, 0.0) == float("inf")


def test_a_mask_keeps_to_its_budget_and_says_what_it_cost(tiny):
    model, tokenizer = tiny.loaded
    options = {"rounds": 3, "max_loss": 0.002}
    made = tiny(criterion="contrastive-kl", sparsity=0.05, options=options)
    notes = str(fields(made))
    assert "general_loss" in notes
    assert "masks_tried" in notes
    assert "texts_backward" in notes
    assert 0 < made.pruned <= 0.05 * made.total
    again = tiny(criterion="contrastive-kl", sparsity=0.05, options=options)
    assert all(torch.equal(made.keep[name], again.keep[name]) for name in made.sites)
    larger = tiny(
        criterion="contrastive-kl", sparsity=0.05, options={"rounds": 3, "max_loss": 0.02}
    )
    assert larger.pruned >= made.pruned
    before = {site.name: site.weight.clone() for site in find_sites(model)}
    with worn(model, tokenizer, made):
        pass
    assert all(torch.equal(site.weight, before[site.name]) for site in find_sites(model))


def test_a_budget_without_the_divergence_as_a_term_still_measures_it(tiny):
    options = {"rounds": 3, "max_loss": 0.002}
    plain = tiny(criterion="contrastive-kl", options=options | {"kl_weight": 0})
    anchored = tiny(criterion="contrastive-kl", options=options)
    assert plain.pruned > 0
    read, more = (made.config.options["auto"] for made in (plain, anchored))
    assert read["texts_backward"] < more["texts_backward"]
    assert read["texts_forward"] > 0


def test_a_mask_that_prunes_nothing_says_so(tiny):
    made = tiny(criterion="contrastive-kl", options={"rounds": 2, "max_loss": 1e-9})
    assert made.pruned == 0
    assert made.config.options["warning"].startswith("the mask prunes nothing")
    some = tiny(criterion="contrastive-kl", options={"rounds": 2, "max_loss": 0.002})
    assert some.pruned > 0
    assert "warning" not in some.config.options


def test_target_and_opposite_are_pulled_apart(tiny):
    options = {"rounds": 2, "max_loss": 0.01}
    ours = tiny(criterion="contrastive-kl", options=options)
    theirs = tiny(COLD, WARM, criterion="contrastive-kl", options=options)
    both = sum(int((~ours.keep[name] & ~theirs.keep[name]).sum()) for name in ours.sites)
    assert both <= 0.2 * min(ours.pruned, theirs.pruned)


def test_auto_is_what_a_budget_does_anyway(tiny):
    options = {"rounds": 2}
    plain = tiny(criterion="contrastive-kl", options=options)
    auto = tiny(criterion="contrastive-kl", options=options, sparsity="auto")
    assert all(torch.equal(plain.keep[name], auto.keep[name]) for name in plain.sites)


def test_bad_values_are_refused():
    criterion = CRITERIA.get("contrastive-kl")
    for options in ({"max_loss": -1}, {"kl_weight": -0.1}, {"batch_size": -2}):
        with pytest.raises(OptionError, match="must not be negative"):
            criterion.parse_options(options)
    assert criterion.parse_options({"batch_size": 0}).batch_size == 0
