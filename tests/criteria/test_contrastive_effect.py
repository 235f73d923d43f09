"""Contrastive effect against a slow loop, and what it must hold."""

import math

import pytest
import torch

from prosopon.criteria import CRITERIA, SiteInputs
from prosopon.criteria.family import effect_size
from prosopon.errors import OptionError
from prosopon.statistics import ChannelStatistics

WEIGHT = torch.randn(4, 9, generator=torch.Generator().manual_seed(3))


def side(seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(5, 8, 9, generator=generator) * torch.rand(9, generator=generator)
    return values, ChannelStatistics.of_batch(values, torch.ones(5, 8, dtype=torch.bool))


TARGET, OPPOSITE, GENERAL = side(1), side(2), side(3)
INPUTS = SiteInputs(WEIGHT, target=TARGET[1], opposite=OPPOSITE[1], general=GENERAL[1])


def score(inputs=INPUTS, **options):
    criterion = CRITERIA.get("contrastive-effect")
    return criterion.score(inputs, criterion.parse_options(options))


def samples(values, effect, j):
    """The numbers whose means and variances make the effect size."""
    if effect == "token":
        return [abs(v) for v in values[:, :, j].flatten().tolist()]
    return [math.sqrt(sum(v * v for v in row) / len(row)) for row in values[:, :, j].tolist()]


def mean(numbers):
    return sum(numbers) / len(numbers)


def variance(numbers):
    return mean([n * n for n in numbers]) - mean(numbers) ** 2


@pytest.mark.parametrize("effect", ["token", "sample"])
@pytest.mark.parametrize("protect", [0.0, 0.2])
def test_every_weight(effect, protect):
    got = score(effect=effect, protect=protect)
    spared = 0
    for j in range(9):
        ours, theirs = (samples(v, effect, j) for v in (TARGET[0], OPPOSITE[0]))
        z = (mean(theirs) - mean(ours)) / math.sqrt(variance(theirs) + variance(ours))
        worth = mean(samples(OPPOSITE[0], "token", j)) * z
        worth -= protect * math.sqrt(mean([v * v for v in GENERAL[0][:, :, j].flatten().tolist()]))
        for i in range(4):
            gain = abs(float(WEIGHT[i, j])) * worth
            if gain > 0:
                assert float(got[i, j]) == pytest.approx(-gain, rel=1e-3, abs=1e-6)
            else:
                assert math.isinf(got[i, j])
                spared += 1
    assert 0 < spared < WEIGHT.numel()


def test_protection_only_takes_weights_out():
    before = score().isfinite()
    for protect in (0.05, 0.2, 1.0):
        after = score(protect=protect).isfinite()
        assert not (after & ~before).any()
        before = after
    assert not score(protect=100.0).isfinite().any()


@pytest.mark.parametrize("effect", ["token", "sample"])
def test_exchange_negates_the_effect(effect):
    exchanged = SiteInputs(WEIGHT, target=OPPOSITE[1], opposite=TARGET[1], general=GENERAL[1])
    both = score(effect=effect).isfinite() & score(exchanged, effect=effect).isfinite()
    assert not both.any()  # no weight speaks against both sides


def test_a_channel_that_never_varies_tells_nothing():
    dead = torch.zeros(5, 8, 9)
    nothing = ChannelStatistics.of_batch(dead, torch.ones(5, 8, dtype=torch.bool))
    assert not effect_size(nothing, nothing, "size").any()
    inputs = SiteInputs(WEIGHT, target=nothing, opposite=nothing, general=nothing)
    assert torch.isinf(score(inputs)).all()


def test_bad_options():
    with pytest.raises(OptionError, match=r"protect=-1\.0: must not be negative"):
        score(protect=-1)
    with pytest.raises(OptionError, match="choose one of token, sample"):
        score(effect="word")
