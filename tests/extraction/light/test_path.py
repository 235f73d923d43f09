"""The path of a light mask: counts, rankings, memory, and weights that come back bit for bit."""

import itertools
import random
import weakref

import pytest
import torch

from prosopon.criteria import CRITERIA, LightOptions
from prosopon.criteria.light import removal_damage, removal_gain
from prosopon.errors import StatisticsError
from prosopon.extraction.light import LightPath, temporary_pruning
from prosopon.extraction.light import candidates as candidates_module
from prosopon.extraction.light.budget import Budget
from prosopon.extraction.light.candidates import find_candidates, highest
from prosopon.extraction.light.path import LEVELS, Ranking
from prosopon.gradients import (
    Anchor,
    Material,
    Objective,
    fisher_diagonal,
    objective_terms,
    pair_log_odds,
)
from prosopon.lm import reading
from prosopon.models import find_sites
from tests.gradients.oracle import objective_gradients
from tests.statistics.conftest import random_examples
from tests.tiny import tiny_model


def material(model, protected=False):
    pairs = list(zip(random_examples(6), random_examples(6, seed=1), strict=True))
    others = list(zip(random_examples(4, seed=3), random_examples(4, seed=4), strict=True))
    others = others if protected else []
    return Material(
        pairs, pair_log_odds(model, pairs), random_examples(5, seed=2),
        others, pair_log_odds(model, others),
    )  # fmt: skip


def options(**changes):
    """Options whose objective is the default :class:`Objective`, without damage."""
    weights = {"target_weight": 1.0, "general_weight": 1.0, "damage_weight": 0.0}
    return LightOptions(**weights | changes)


def gather(whole, positions):
    return {name: whole[name].reshape(-1)[flat] for name, flat in positions.items()}


def path(model, *, largest=100, criterion=None, anchor=None, report=None, lines=None, **changes):
    sites = find_sites(model)
    calibration = material(model)
    whole = fisher_diagonal(model, sites, calibration.general)
    return LightPath(
        model, sites, calibration, criterion or CRITERIA.get("contrastive-taylor"),
        options(**changes), largest=largest, anchor=anchor, report=report, lines=lines,
        fisher=lambda positions: gather(whole, positions),
    )  # fmt: skip


def slow_highest(scores, count):
    ranked = sorted(
        (-float(value), number, i, name)
        for number, (name, score) in enumerate(scores.items())
        for i, value in enumerate(score)
        if value > 0
    )
    return {(name, i) for _, _, i, name in ranked[:count]}


@pytest.mark.parametrize("count", [0, 1, 5, 17, 1000])
def test_highest_against_sorting(count):
    generator = torch.Generator().manual_seed(0)
    scores = {
        "a": torch.randint(-3, 3, (20,), generator=generator).float(),
        "b": torch.randint(-3, 3, (14,), generator=generator).float(),
    }
    found = highest(scores, count)
    got = {(name, int(i)) for name, indices in found.items() for i in indices}
    assert got == slow_highest(scores, count)
    assert all(torch.equal(i, i.sort().values) for i in found.values())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("limit", [1, 2**28], ids=["site by site", "at once"])
def test_candidates_are_the_weights_with_the_highest_gain(family, limit, monkeypatch):
    model, _ = tiny_model(family)
    sites = find_sites(model)
    made = material(model)
    gradients, _ = objective_gradients(model, sites, made, Objective())
    expected = {s.name: (s.matrix() * gradients[s.name]).reshape(-1) for s in sites}
    monkeypatch.setattr(candidates_module, "SMALL", limit)
    monkeypatch.setattr(candidates_module, "free_memory", lambda _: 0)
    positions, gains = find_candidates(
        sites, lambda: objective_terms(model, made, Objective()), removal_gain, 300
    )
    assert {(n, int(i)) for n, flat in positions.items() for i in flat} == slow_highest(
        expected, 300
    )
    for name, flat in positions.items():
        torch.testing.assert_close(gains[name], expected[name][flat], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("count", [1, 5, 40, 700])
@pytest.mark.parametrize("seed", range(2))
def test_candidates_lie_wherever_the_gains_are(count, seed):
    """Sites with many high gains before and after sites with few; more than asked for in one."""
    model, _ = tiny_model("llama")
    sites = find_sites(model)
    generator = torch.Generator().manual_seed(seed)
    scales = torch.rand(len(sites), generator=generator) * 4
    gains = {
        site.name: torch.randn(site.shape, generator=generator) + scale
        for site, scale in zip(sites, scales, strict=True)
    }
    one_by_one = iter(gains.values())

    def terms():  # made while gradients are taken
        yield sum(site.weight.sum() for site in sites)

    positions, values = find_candidates(sites, terms, lambda *_: next(one_by_one), count)
    flat = {name: gain.reshape(-1) for name, gain in gains.items()}
    places = {(name, int(i)) for name, indices in positions.items() for i in indices}
    assert places == slow_highest(flat, count)
    assert all(torch.equal(values[name], flat[name][positions[name]]) for name in flat)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_budget_is_kept_and_weights_come_back(family):
    model, _ = tiny_model(family)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    grown = path(model)
    assert list(grown.grow(100, 4)) == [1, 2, 3, 4]
    assert len(grown.ranking(100)) == 100
    assert len(grown.losses) == 4
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None for p in model.parameters())


def test_it_grows_evenly_from_where_it_is(monkeypatch):
    grown, sizes = path(tiny_model("llama")[0]), []
    step = grown.step
    monkeypatch.setattr(grown, "step", lambda trial: sizes.append(len(trial.mask)) or step(trial))
    assert list(grown.grow(80, 4)) == [1, 2, 3, 4]
    list(grown.grow(100, 2))
    list(grown.grow(100, 1))
    assert sizes == [0, 20, 40, 60, 80, 90, 100]


def test_a_step_adds_the_gain_of_a_masked_model_with_original_weights():
    model, _ = tiny_model("llama")
    made = material(model)
    grown = path(model, batch_size=1000)  # every batch is everything
    sites = grown.sites
    worn = grown.ranking(50)
    before = {name: gain.clone() for name, gain in grown._gains.items()}
    weights = {s.name: s.matrix().clone().reshape(-1) for s in sites}
    grown.step(grown.trial(worn))
    with temporary_pruning(sites) as prune:
        prune(worn.positions)
        gradients, _ = objective_gradients(model, sites, made, Objective())
    for name, gain in grown._gains.items():
        flat = grown._positions[name]
        added = removal_gain(weights[name][flat], gradients[name].reshape(-1)[flat])
        torch.testing.assert_close(gain, before[name] + added, rtol=1e-3, atol=1e-6)


def test_the_ranking_is_gain_minus_price_times_damage():
    model, _ = tiny_model("llama")
    grown = path(model, damage_weight=3.0)
    list(grown.grow(100, 2))
    sites = grown.sites
    whole = fisher_diagonal(model, sites, material(model).general)
    scores = {}
    for site in sites:
        flat = grown._positions[site.name]
        damage = removal_damage(site.matrix(), whole[site.name]).reshape(-1)[flat]
        scores[site.name] = grown._gains[site.name] - grown.rounds * 7.0 * damage
    got = grown.ranking(100, damage_weight=7.0)
    want = slow_highest(scores, 100)
    assert {
        (name, int(i))
        for name, flat in got.positions.items()
        for i in torch.searchsorted(grown._positions[name], flat)
    } == want


def test_the_objective_falls():
    model, _ = tiny_model("llama")
    grown = path(model, batch_size=1000)
    list(grown.grow(200, 5))
    assert grown.losses[-1] < grown.losses[0]


def test_dear_damage_prunes_less():
    model, _ = tiny_model("llama")
    grown = path(model, largest=2000)
    assert len(grown.ranking(10**6, damage_weight=1e12)) < len(
        grown.ranking(10**6, damage_weight=0.0)
    )


def test_half_the_strength_has_half_of_the_summed_scores():
    model, _ = tiny_model("llama")
    ranking = path(model).ranking(100)
    levels = ranking.levels()
    assert all(each.dtype == torch.uint8 for each in levels.values())
    scores = sorted((float(s) for each in ranking.scores.values() for s in each), reverse=True)
    for steps in (32, 128, 250):
        taken = {(n, int(i)) for n, each in levels.items() for i in (each < steps).nonzero()}
        assert taken == slow_highest(ranking.scores, len(taken))  # a prefix of the ranking
        held = sum(scores[: len(taken)]) / sum(scores)
        assert steps / LEVELS <= held + 1e-9
        assert sum(scores[: len(taken) - 1]) / sum(scores) < steps / LEVELS


def test_protection_keeps_other_contrasts_closer():
    moved = {}
    for weight in (0.0, 3.0):
        model, _ = tiny_model("llama")
        sites, made = find_sites(model), material(model, protected=True)
        grown = LightPath(
            model, sites, made, CRITERIA.get("contrastive-taylor"),
            options(target_weight=0, general_weight=0, protect_weight=weight, batch_size=1000),
            largest=100,
            fisher=lambda at: {name: torch.zeros(len(flat)) for name, flat in at.items()},
        )  # fmt: skip
        list(grown.grow(100, 12))
        with temporary_pruning(sites) as prune:
            prune(grown.ranking(100).positions)
            other = pair_log_odds(model, made.protected) - made.protected_reference
            own = pair_log_odds(model, made.pairs) - made.reference
        assert float(own.mean()) > 5  # the persona is there with and without
        moved[weight] = float(other.abs().mean())
    assert moved[3.0] < 0.6 * moved[0.0]


def test_batches_come_round():
    model, _ = tiny_model("llama")
    draws = path(model, batch_size=4)._draws
    seen = [len(part.pairs) for part in itertools.islice(draws, 3)]
    assert seen == [4, 4, 4]
    again = path(model, batch_size=4)._draws
    assert next(again).pairs == next(path(model, batch_size=4)._draws).pairs


def test_nan_gradients_are_an_error():
    model, _ = tiny_model("llama")
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(StatisticsError, match="NaN or infinite"):
        path(model)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_weights_come_back_after_an_exception(error):
    model, _ = tiny_model("gpt2")
    sites = find_sites(model)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    name, width = sites[0].name, sites[0].in_features

    def stop():
        with temporary_pruning(sites) as prune:
            prune({name: torch.tensor([2, width + 3])})
            prune({name: torch.tensor([2, 2 * width + 5])})  # one of them again
            assert sites[0].matrix()[0, 2] == 0
            raise error

    with pytest.raises(error):
        stop()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_no_weight_to_prune():
    empty = Ranking({"a": torch.zeros(0, dtype=torch.int64)}, {"a": torch.zeros(0)})
    assert len(empty) == 0
    assert empty.levels()["a"].shape == (0,)


def test_it_counts_the_texts_that_it_reads_and_says_how_far_it_is():
    model, _ = tiny_model("llama")
    reports = []
    grown = path(model, batch_size=2, report=lambda *line: reports.append(line))
    assert grown.texts == 2 * 6 + 5
    assert reports[-1] == ("finding candidates", 6, 6)
    grown.step(grown.trial(grown.ranking(10)))
    assert grown.texts == 2 * 6 + 5 + 2 * 2 + 2
    texts = random_examples(7, seed=9)
    anchored = path(model, batch_size=3, kl_weight=1.0, anchor=Anchor(model, texts))
    before = anchored.texts
    anchored.step(anchored.trial(anchored.ranking(10)))
    assert anchored.texts == before + 2 * 3 + 3 + 3


def test_the_power_of_likelihoods_reaches_the_gains():
    model, _ = tiny_model("llama")
    none, some = (
        path(model, log_odds="logistic", likelihood_power=power).ranking(50) for power in (0.0, 0.5)
    )
    assert len(none) == len(some) == 50
    assert none.digest() != some.digest()


def test_a_mask_that_goes_too_far_is_read_forward_alone(monkeypatch):
    model, _ = tiny_model("llama")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    texts = random_examples(7, seed=9)
    grown = path(model, largest=2000, kl_weight=2.0, anchor=Anchor(model, texts, max_tokens=24))
    mask, sizes = grown.ranking(2000), []
    read = Anchor.terms

    def terms(self, *args):
        for term in read(self, *args):
            sizes.append(float(term.detach()) / 2.0)
            yield term

    monkeypatch.setattr(Anchor, "terms", terms)
    whole = grown.trial(mask)
    assert whole.gradient is not None
    assert len(sizes) > 2
    counts = grown.texts, grown.texts_forward
    within = grown.trial(mask, whole.divergence)
    assert within.divergence == whole.divergence
    assert all(torch.equal(within.gradient[n], whole.gradient[n]) for n in whole.gradient)
    assert (grown.texts, grown.texts_forward) == (counts[0] + 7, counts[1])
    for most in (0.0, sizes[0], whole.divergence * 0.99):  # no term, the first, all but the last
        counts = grown.texts, grown.texts_forward
        cut = grown.trial(mask, most)
        assert cut.divergence == whole.divergence  # known as exactly, from forward passes
        assert cut.gradient is None
        assert grown.texts - counts[0] + grown.texts_forward - counts[1] == 7
        assert (grown.texts == counts[0]) == (most == 0.0)
        with pytest.raises(ValueError, match="too far"):
            grown.step(cut)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_round_under_a_broken_model_is_a_statistics_error(monkeypatch):
    model, _ = tiny_model("llama")
    texts = random_examples(7, seed=9)
    grown = path(model, largest=2000, kl_weight=2.0, anchor=Anchor(model, texts))
    read = Anchor.terms
    monkeypatch.setattr(
        Anchor, "terms", lambda *args: (term * float("nan") for term in read(*args))
    )
    assert grown.trial(grown.ranking(10), 0.5).gradient is None  # NaN is not within a limit
    with pytest.raises(StatisticsError, match="NaN"):
        list(grown.grow(100, 1))
    budget = Budget(model, grown.sites, texts, limit=0.05, count=2000)
    with pytest.raises(StatisticsError, match="NaN"):
        budget.step(grown)


def test_the_graph_of_what_goes_too_far_is_gone_before_the_next_pass(monkeypatch):
    model, _ = tiny_model("llama")
    anchor = Anchor(model, random_examples(7, seed=9), max_tokens=24)
    grown, graphs, alive = path(model, kl_weight=2.0, anchor=anchor), [], []
    read = reading.counted_logits

    def count(*args, **options):
        alive.append(any(graph() is not None for graph in graphs))
        logits = read(*args, **options)
        if logits.values.grad_fn is not None:
            graphs.append(weakref.ref(logits.values))
        return logits

    monkeypatch.setattr(reading, "counted_logits", count)
    assert grown.trial(grown.ranking(10), 0.0).gradient is None
    assert len(graphs) == 1
    assert len(alive) > 2
    assert not any(alive)


def test_where_memory_is_free_candidates_take_one_reading(monkeypatch):
    model, _ = tiny_model("llama")
    sites, readings = find_sites(model), []

    def terms():
        readings.append(1)
        return objective_terms(model, material(model), Objective())

    whole = find_candidates(sites, terms, removal_gain, 50)
    assert len(readings) == 1
    monkeypatch.setattr(candidates_module, "SMALL", 0)
    monkeypatch.setattr(candidates_module, "free_memory", lambda _: 0)
    parts = find_candidates(sites, terms, removal_gain, 50)
    assert len(readings) > 2
    for ours, theirs in zip(whole, parts, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert candidates_module.free_memory(torch.device("cpu")) >= 0


def test_candidates_may_be_looked_for_on_some_of_the_pairs():
    model, _ = tiny_model("llama")
    whole, same, some = (path(model, candidate_pairs=count) for count in (0, 6, 2))
    assert all(torch.equal(gain, same._gains[name]) for name, gain in whole._gains.items())
    assert (whole.texts, some.texts) == (2 * 6 + 5, 2 * 2 + 5)
    made, sites = material(model), {s.name: s.matrix().reshape(-1) for s in find_sites(model)}
    drawn = sorted(random.Random("0/candidates").sample(range(6), 2))
    gradients, _ = objective_gradients(
        model, find_sites(model), made.part(drawn, range(5), []), Objective()
    )
    for name, gain in some._gains.items():
        flat = some._positions[name]
        alone = removal_gain(sites[name][flat], gradients[name].reshape(-1)[flat])
        torch.testing.assert_close(gain, alone, rtol=1e-3, atol=1e-6)
