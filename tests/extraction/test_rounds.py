"""Rounds of pruning: exact counts, nested rankings, and weights that come back bit for bit."""

import pytest
import torch

from prosopon.criteria import CRITERIA
from prosopon.extraction import lowest, prune_in_rounds, temporary_pruning
from prosopon.models import find_sites
from prosopon.statistics import fisher_diagonal
from tests.statistics.conftest import random_examples
from tests.tiny import tiny_model

CRITERION = CRITERIA.get("contrastive-taylor")


def run(model, budget=200, **options):
    sites = find_sites(model)
    parsed = CRITERION.parse_options(options)
    pairs = list(zip(random_examples(6), random_examples(6, seed=1), strict=True))
    general = random_examples(5, seed=2)
    fisher = fisher_diagonal(model, sites, general)
    return prune_in_rounds(model, sites, CRITERION, parsed, pairs, general, fisher, budget)


def slow_lowest(scores, count):
    ranked = sorted(
        (float(score[i, j]), number, i, j, name)
        for number, (name, score) in enumerate(scores.items())
        for i in range(score.shape[0])
        for j in range(score.shape[1])
        if score[i, j] < 0
    )
    return {(name, i, j) for _, _, i, j, name in ranked[:count]}


@pytest.mark.parametrize("count", [0, 1, 5, 17, 1000])
def test_lowest_against_sorting(count):
    generator = torch.Generator().manual_seed(0)
    scores = {
        "a": torch.randint(-3, 3, (4, 5), generator=generator).float(),
        "b": torch.randint(-3, 3, (2, 7), generator=generator).float(),
    }
    got = {
        (name, int(i), int(j))
        for name, (rows, columns) in lowest(scores, count).items()
        for i, j in zip(rows, columns, strict=True)
    }
    assert got == slow_lowest(scores, count)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_budget_is_kept_and_weights_come_back(family):
    model, _ = tiny_model(family)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    result = run(model, budget=100, rounds=4, damage=0.0)
    assert sum(int((~keep).sum()) for keep in result.keep.values()) == 100
    assert len(result.losses) == 4
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_objective_falls():
    model, _ = tiny_model("llama")
    result = run(model, budget=200, rounds=5, damage=0.0)
    assert result.losses[-1] < result.losses[0]


def test_damage_alone_prunes_nothing_more_than_pays():
    model, _ = tiny_model("llama")
    free = run(model, budget=2000, rounds=1, damage=0.0)
    dear = run(model, budget=2000, rounds=1, damage=1e9)
    assert sum(int((~k).sum()) for k in dear.keep.values()) < sum(
        int((~k).sum()) for k in free.keep.values()
    )


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_weights_come_back_after_an_exception(error):
    model, _ = tiny_model("gpt2")
    sites = find_sites(model)
    before = {k: v.clone() for k, v in model.state_dict().items()}

    def stop():
        with temporary_pruning(sites) as prune:
            prune(sites[0], torch.tensor([0, 1]), torch.tensor([2, 3]))
            prune(sites[0], torch.tensor([0, 2]), torch.tensor([2, 5]))  # one of them again
            assert sites[0].matrix()[0, 2] == 0
            raise error

    with pytest.raises(error):
        stop()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
