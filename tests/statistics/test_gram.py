"""Gram matrices: exact on every family, whatever the batches; merging."""

import pytest
import torch

from prosopon.errors import StatisticsError
from prosopon.models import find_sites
from prosopon.statistics import GramStatistics, collect_grams, gram_portions
from tests.statistics.test_collect import slow
from tests.tiny import FAMILIES, tiny_model


def assert_same(a, b):
    assert dict(a.groups) == dict(b.groups)
    for name, gram in a.sums.items():
        assert gram.tokens == b.sums[name].tokens
        torch.testing.assert_close(gram.total, b.sums[name].total, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_against_the_slow_way(family, examples):
    model, _ = tiny_model(family)
    sites = find_sites(model)
    got = collect_grams(model, sites, examples, max_rows=5)
    for name, samples in slow(model, sites, examples).items():
        expected = sum(torch.outer(token, token) for token in torch.cat(samples))
        torch.testing.assert_close(got[name].total, expected, rtol=1e-4, atol=1e-3)
        assert torch.equal(got[name].total, got[name].total.T)
        assert got[name].tokens == sum(len(s) for s in samples)


@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_and_padding_change_nothing(side, examples):
    model, _ = tiny_model("opt")
    sites = find_sites(model)
    one = collect_grams(model, sites, examples, max_rows=1)
    assert_same(one, collect_grams(model, sites, examples[::-1], max_rows=16, padding_side=side))


def test_two_halves_merge_and_sites_share(examples):
    model, _ = tiny_model("llama")
    sites = find_sites(model)
    whole = collect_grams(model, sites, examples)
    halves = [collect_grams(model, sites, part) for part in (examples[:6], examples[6:])]
    assert_same(halves[0] + halves[1], whole)
    layer = "model.layers.0."
    assert whole[layer + "self_attn.k_proj"] is whole[layer + "self_attn.q_proj"]
    assert len(whole.sums) == 2 * 4


def test_errors(examples):
    model, _ = tiny_model("llama")
    sites = find_sites(model)
    with pytest.raises(StatisticsError, match="no examples"):
        collect_grams(model, sites, [])
    grams = collect_grams(model, sites[:1], examples)
    with pytest.raises(StatisticsError, match="no statistics for site 'nowhere'"):
        grams["nowhere"]
    assert type(grams + grams) is type(grams)
    assert (grams + grams)[sites[0].name].tokens == 2 * grams[sites[0].name].tokens
    kept = grams[sites[0].name].total.clone()
    assert grams[sites[0].name] + grams[sites[0].name]  # makes a new one
    assert torch.equal(grams[sites[0].name].total, kept)
    with pytest.raises(StatisticsError, match="their scope differs"):
        grams + collect_grams(model, sites[:1], examples, scope="all")
    with pytest.raises(StatisticsError, match="of 2 and of 3 channels"):
        GramStatistics.zero(2) + GramStatistics.zero(3)
    with pytest.raises(StatisticsError, match="of 2 and of 3 channels"):
        GramStatistics.zero(2).absorb(GramStatistics.zero(3))
    with torch.no_grad():
        model.model.layers[0].input_layernorm.weight.fill_(float("inf"))
    with pytest.raises(StatisticsError, match="NaN or infinite"):
        collect_grams(model, sites[:1], examples)


def test_portions_fit_the_limit_and_miss_no_site():
    sites = find_sites(tiny_model("llama")[0])
    limit = 3 * 8 * 32 * 32
    portions = list(gram_portions(sites, limit))
    assert [site for portion in portions for site in portion] == sites
    assert len(portions) > 1
    for portion in portions:
        assert len(portion) == 1 or sum(8 * s.in_features**2 for s in portion) <= limit
    assert all(len(portion) == 1 for portion in gram_portions(sites, 1))
    assert list(gram_portions(sites)) == [sites]
