"""Collection: exact whatever the batches, the padding and the order; any family."""

import random

import pytest
import torch

from prosopon.data import Encoded
from prosopon.errors import StatisticsError
from prosopon.models import find_sites
from prosopon.statistics import collect_statistics
from prosopon.statistics.channel import SUMS
from tests.tiny import FAMILIES, tiny_model


def assert_same(a, b, tolerance=1e-5):
    assert dict(a.groups) == dict(b.groups)
    for name in a.channels:
        x, y = a.channels[name], b.channels[name]
        assert (x.tokens, x.samples) == (y.tokens, y.samples)
        for key in SUMS:
            torch.testing.assert_close(
                getattr(x, key), getattr(y, key), rtol=tolerance, atol=tolerance
            )


def slow(model, sites, examples):
    """One example at a time, no padding, every site hooked, float64."""
    kept = {site.name: [] for site in sites}
    handles = [
        site.module.register_forward_pre_hook(
            lambda _m, args, name=site.name: kept[name].append(
                args[0].reshape(-1, args[0].shape[-1]).double()  # OPT flattens its tokens
            )
        )
        for site in sites
    ]
    for example in examples:
        with torch.no_grad():
            model(input_ids=torch.tensor([example.input_ids]))
    for handle in handles:
        handle.remove()
    scopes = [torch.tensor(e.scope) for e in examples]
    return {n: [x[s] for x, s in zip(xs, scopes, strict=True)] for n, xs in kept.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_against_the_slow_way(family, examples):
    model, _ = tiny_model(family)
    sites = find_sites(model)
    got = collect_statistics(model, sites, examples, max_rows=5)
    for name, samples in slow(model, sites, examples).items():
        flat = torch.cat(samples)
        norms = torch.stack([s.square().sum(0).sqrt() for s in samples])
        torch.testing.assert_close(got[name].mean_abs, flat.abs().mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(got[name].norm_mean, norms.mean(0), rtol=1e-4, atol=1e-5)
        assert got[name].tokens == len(flat)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "gpt_neox"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_padding_and_order_change_nothing(family, side, examples):
    model, _ = tiny_model(family)
    sites = find_sites(model)
    one = collect_statistics(model, sites, examples, max_rows=1)
    many = collect_statistics(model, sites, examples, max_rows=16, padding_side=side)
    assert_same(one, many)
    shuffled = random.Random(1).sample(examples, len(examples))
    assert_same(one, collect_statistics(model, sites, shuffled, max_rows=16, padding_side=side))


def test_two_halves_merge_into_the_whole(examples):
    model, _ = tiny_model("llama")
    sites = find_sites(model)
    whole = collect_statistics(model, sites, examples, source="a")
    halves = [
        collect_statistics(model, sites, examples[:6], source="b"),
        collect_statistics(model, sites, examples[6:], source="a"),
    ]
    assert_same(halves[0] + halves[1], whole)
    assert (halves[0] + halves[1]).sources == ("a", "b")


def test_sites_with_the_same_input_share_an_entry(examples):
    model, _ = tiny_model("llama")
    statistics = collect_statistics(model, find_sites(model), examples)
    layer = "model.layers.0."
    groups = statistics.groups
    assert groups[layer + "self_attn.k_proj"] == layer + "self_attn.q_proj"
    assert groups[layer + "self_attn.v_proj"] == layer + "self_attn.q_proj"
    assert groups[layer + "mlp.up_proj"] == groups[layer + "mlp.gate_proj"]
    assert len(statistics.channels) == 2 * 4
    assert statistics[layer + "mlp.up_proj"] is statistics[layer + "mlp.gate_proj"]


def test_weights_hooks_and_gradients_are_as_before(examples):
    model, _ = tiny_model("llama")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    sites = find_sites(model)
    collect_statistics(model, sites, examples)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(site.module._forward_pre_hooks for site in sites)


def test_errors(examples):
    model, _ = tiny_model("llama")
    sites = find_sites(model)
    with pytest.raises(StatisticsError, match="no examples"):
        collect_statistics(model, sites, [])
    other = find_sites(tiny_model("llama", seed=1)[0])
    with pytest.raises(StatisticsError, match="gets no input"):
        collect_statistics(model, other, examples)
    statistics = collect_statistics(model, sites[:1], examples)
    with pytest.raises(StatisticsError, match="no statistics for site 'nowhere'"):
        statistics["nowhere"]


def test_infinite_activations_are_an_error(examples):
    model, _ = tiny_model("llama")
    sites = find_sites(model)
    with torch.no_grad():
        model.model.norm.weight.fill_(1.0)
        model.model.layers[0].input_layernorm.weight.fill_(float("inf"))
    with pytest.raises(StatisticsError, match="NaN or infinite activations"):
        collect_statistics(model, sites, examples)


def test_progress_counts_every_example(examples):
    model, _ = tiny_model("llama")
    seen = []
    collect_statistics(model, find_sites(model), examples, max_rows=4, progress=seen.append)
    assert sum(seen) == len(examples)


def test_merging_what_does_not_belong_together(examples):
    first, _ = tiny_model("llama")
    second, _ = tiny_model("llama", seed=1)
    a = collect_statistics(first, find_sites(first), examples)
    b = collect_statistics(second, find_sites(second), examples)
    with pytest.raises(StatisticsError, match="their fingerprint differs"):
        a + b
    c = collect_statistics(first, find_sites(first), examples, scope="all")
    with pytest.raises(StatisticsError, match="their scope differs"):
        a + c


def test_a_token_out_of_scope_does_not_count():
    model, _ = tiny_model("llama")
    sites = find_sites(model, targets=["layers.0.self_attn.q_proj"])
    example = Encoded([7, 8, 9], [False, True, False], [False, True, False])
    assert collect_statistics(model, sites, [example]).tokens == 1
