"""Draws from scores: their distribution, the nucleus, and what rounding may decide."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from prosopon.serving.sampling import ROUNDING, Sampler, chance, nucleus, rounding_error

SCORES = torch.tensor([1.0, 3.0, 2.0, -torch.inf, 0.0], dtype=torch.float64)


def random_scores(seed, size=30):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(size, generator=generator, dtype=torch.float64)


def slow_nucleus(scores, top_p):
    """Take tokens, the likeliest first, until they make up top_p."""
    chances = scores.softmax(0).tolist()
    chosen, mass = set(), 0.0
    for token in sorted(range(len(chances)), key=lambda token: -chances[token]):
        if mass < top_p:
            chosen.add(token)
        mass += chances[token]
    return chosen


def members(mask):
    return set(mask.nonzero().flatten().tolist())


def test_a_temperature_of_zero_takes_the_highest():
    sampler = Sampler(0.0, 0.1, seed=3)
    assert [sampler.draw(SCORES, 0.0) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature):
    sampler, count = Sampler(temperature, 1.0, seed=1), 1500
    draws = Counter(sampler.draw(SCORES, 0.0) for _ in range(count))
    for token, share in enumerate((SCORES / temperature).softmax(0).tolist()):
        error = 4 * (share * (1 - share) / count) ** 0.5  # four standard errors
        assert abs(draws[token] / count - share) <= error, (token, draws)


def test_draws_stay_in_the_nucleus_in_their_proportions():
    sampler, count = Sampler(1.0, 0.8, seed=2), 1500
    draws = Counter(sampler.draw(SCORES, 0.0) for _ in range(count))
    assert set(draws) == slow_nucleus(SCORES, 0.8) == {1, 2}
    share = float(SCORES[[1, 2]].softmax(0)[0])
    assert abs(draws[1] / count - share) < 4 * (share * (1 - share) / count) ** 0.5


def test_a_seed_gives_the_same_draws_and_another_one_others():
    def draws(seed):
        sampler = Sampler(1.0, 0.95, seed)
        return [sampler.draw(random_scores(number), 0.0) for number in range(30)]

    assert draws(7) == draws(7)
    assert draws(7) != draws(8)


def test_the_global_generator_is_not_used():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    Sampler(1.0, 1.0, 5).draw(SCORES, 0.0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_nucleus_is_that_of_the_slow_way(seed, top_p):
    scores = random_scores(seed)
    certain, possible = nucleus(scores, top_p, 0.0)
    assert members(certain) == members(possible) == slow_nucleus(scores, top_p)


@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("error", [1e-3, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_a_nucleus_in_doubt_lies_between_certain_and_possible(seed, error, top_p):
    scores = random_scores(seed)
    certain, possible = map(members, nucleus(scores, top_p, error))
    generator = torch.Generator().manual_seed(seed)
    seen = set()
    for _ in range(40):
        shift = error * (2 * torch.rand(len(scores), generator=generator, dtype=torch.float64) - 1)
        inside = slow_nucleus(scores + shift, top_p)
        assert certain <= inside <= possible
        seen.add(frozenset(inside))
    assert certain <= possible


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("top_p", [1.0, 0.7])
def test_what_is_drawn_despite_an_error_no_error_of_that_size_changes(temperature, top_p):
    generator, error = torch.Generator().manual_seed(0), 0.05
    decided = 0
    for number in range(150):
        scores = random_scores(number)
        token = Sampler(temperature, top_p, number).draw(scores, error)
        if token is None:
            continue
        decided += 1
        for _ in range(5):
            signs = torch.randint(2, (len(scores),), generator=generator, dtype=torch.float64)
            shifted = scores + error * (2 * signs - 1)
            assert Sampler(temperature, top_p, number).draw(shifted, 0.0) == token
    assert 60 < decided < 150


def test_a_draw_in_doubt_is_made_again_with_the_same_noise():
    for number in range(20):
        scores = random_scores(number)
        sampler, other = Sampler(1.0, 0.9, number), Sampler(1.0, 0.9, number)
        assert sampler.draw(scores, 1e9) is None  # everything is in doubt
        assert sampler.draw(scores, 1e9) is None
        tokens = [sampler.draw(scores, 0.0), sampler.draw(scores, 0.0)]
        assert tokens == [other.draw(scores, 0.0), other.draw(scores, 0.0)]


def test_equal_scores_are_in_doubt_and_decided_when_exact():
    scores = torch.zeros(4, dtype=torch.float64)
    sampler = Sampler(0.0, 1.0, 0)
    assert sampler.draw(scores, 1e-9) is None
    assert sampler.draw(scores, 0.0) == Sampler(0.0, 1.0, 1).draw(scores, 0.0)


def test_the_error_of_rounding_grows_with_the_scores_and_the_precision():
    assert rounding_error(SCORES, torch.float32) == ROUNDING * 2**-23 * 3.0
    assert rounding_error(10 * SCORES, torch.bfloat16) == ROUNDING * 2**-7 * 30.0


def test_a_chance_is_the_logarithm_of_the_softmax():
    own = chance(SCORES, 2, 2)
    logs = SCORES.softmax(0).log().tolist()
    assert own.token == 2
    assert own.logprob == pytest.approx(logs[2])
    assert own.top == ((1, pytest.approx(logs[1])), (2, pytest.approx(logs[2])))
    assert chance(SCORES, 0, 0).top == ()
    assert len(chance(SCORES, 0, 20).top) == 5
