"""Statistics of the experts of a fused parameter: of the tokens that came to each, exactly."""

import pytest
import torch

from prosopon.errors import StatisticsError
from prosopon.models import find_sites
from prosopon.statistics import Statistics, collect_grams, collect_statistics
from tests.experts import expert_sites, starve, unfused
from tests.statistics.conftest import random_examples
from tests.tiny import EXPERT_FAMILIES, tiny_model


@torch.no_grad()
def slow_inputs(model, texts):
    """Return what every expert reads of every text's tokens in scope, one text at a time."""
    other, linears = unfused(model)
    seen = {name: [] for name in linears}
    for text in texts:
        now = {name: [] for name in linears}
        hooks = []
        for site in expert_sites(model):
            experts = other.model.layers[site.layer].mlp.experts

            def hook(_module, args, _output, to=now[site.name], at=experts, scope=text.scope):
                if scope[at.place]:
                    to.append(args[0].double())

            hooks.append(linears[site.name].register_forward_hook(hook))
        other(input_ids=torch.tensor([text.input_ids]))
        for handle in hooks:
            handle.remove()
        for name, values in now.items():
            if values:
                seen[name].append(torch.stack(values))
    return seen


@pytest.mark.parametrize(
    ("family", "side"), list(zip(EXPERT_FAMILIES, 2 * ["left", "right"], strict=True))
)
def test_sums_are_those_of_a_slow_walk_over_plain_matrices(family, side):
    model, _ = tiny_model(family)
    texts, sites = random_examples(7), find_sites(model)
    got = collect_statistics(model, sites, texts, max_tokens=60, padding_side=side)
    grams = collect_grams(model, expert_sites(model), texts)
    for name, parts in slow_inputs(model, texts).items():
        ours, every = got[name], torch.cat(parts)
        assert (ours.tokens, ours.samples) == (len(every), len(parts))
        assert got.groups[name] == name
        square = torch.stack([part.square().sum(0) for part in parts])
        lengths = torch.tensor([[float(len(part))] for part in parts])
        expected = (
            every.sum(0), every.abs().sum(0), square.sum(0), square.sqrt().sum(0),
            (square / lengths).sqrt().sum(0), (square / lengths).sum(0),
        )  # fmt: skip
        for mine, slow in zip(ours.tensors, expected, strict=True):
            torch.testing.assert_close(mine, slow.double(), rtol=1e-3, atol=1e-3)
        assert grams[name].tokens == len(every)
        torch.testing.assert_close(grams[name].total, every.T @ every, rtol=1e-3, atol=1e-3)
    # Every token comes to two experts.
    up = [s for s in sites if s.parameter == "model.layers.0.mlp.experts.gate_up_proj"]
    assert sum(got[site.name].tokens for site in up) == 2 * got.tokens
    assert not any(site.module._forward_pre_hooks for site in sites)


def test_neither_batches_nor_padding_count():
    model, _ = tiny_model("qwen3_moe")
    sites, texts = expert_sites(model), random_examples(9)
    one = collect_statistics(model, sites, texts, max_tokens=1)
    all_ = collect_statistics(model, sites, texts, max_tokens=10_000)
    for site in sites:
        assert one[site.name].tokens == all_[site.name].tokens
        for a, b in zip(one[site.name].tensors, all_[site.name].tensors, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_halves_add_up_and_a_file_holds_them(tmp_path):
    model, _ = tiny_model("mixtral")
    sites, texts = find_sites(model), random_examples(6)
    halves = [collect_statistics(model, sites, part) for part in (texts[:2], texts[2:])]
    whole, total = collect_statistics(model, sites, texts), halves[0] + halves[1]
    for name, sums in whole.sums.items():
        assert (sums.tokens, sums.samples) == (total[name].tokens, total[name].samples)
        torch.testing.assert_close(
            sums.total_square, total[name].total_square, rtol=1e-5, atol=1e-4
        )
    whole.save(tmp_path / "sums.safetensors")
    again = Statistics.load(tmp_path / "sums.safetensors")
    assert again.groups == whole.groups
    assert all(torch.equal(again[n].total, sums.total) for n, sums in whole.sums.items())


def test_an_expert_that_no_token_came_to_is_empty_and_not_infinite():
    model, _ = tiny_model("qwen3_moe")
    starve(model, 1)
    sites = find_sites(model)
    got = collect_statistics(model, sites, random_examples(3))
    grams = collect_grams(model, expert_sites(model), random_examples(3))
    empty = {site.name for site in sites if got[site.name].is_empty}
    assert empty == {site.name for site in expert_sites(model) if site.expert == 1}
    for name in empty:
        sums = got[name]
        assert (sums.tokens, sums.samples) == (0, 0)
        for value in (sums.mean, sums.mean_abs, sums.variance, sums.norm_mean, sums.norm_variance):
            assert not value.any()
        assert not sums.rms_mean.any()
        assert not sums.rms_variance.any()
        assert not grams[name].mean.any()


def test_a_plain_site_that_is_never_run_is_an_error_as_before():
    model, _ = tiny_model("mixtral")
    model.model.layers[0].mlp.idle = torch.nn.Linear(4, 4)
    with pytest.raises(StatisticsError, match=r"mlp\.idle' gets no input"):
        collect_statistics(model, find_sites(model), random_examples(2))
