"""What an approximation costs, against slow sums; hooks that leave nothing behind."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.export.fidelity import add_factors, mean_divergence
from prosopon.export.lowrank import factors, squared_error
from prosopon.models import find_sites
from tests.runtime.samples import assert_bits, logits, weights
from tests.tiny import tiny_model


def slow_divergence(ours, theirs):
    sums, count = 0.0, 0
    for p_rows, q_rows in zip(ours, theirs, strict=True):
        for p_row, q_row in zip(p_rows.tolist(), q_rows.tolist(), strict=True):
            p_all, q_all = (sum(map(math.exp, row)) for row in (p_row, q_row))
            for p, q in zip(p_row, q_row, strict=True):
                share = math.exp(p) / p_all
                sums += share * math.log(share / (math.exp(q) / q_all))
            count += 1
    return sums / count


def test_divergence_is_the_mean_over_tokens_not_prompts():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = ([torch.randn(n, 5, generator=generator) for n in (1, 4)] for _ in range(2))
    assert mean_divergence(ours, theirs) == pytest.approx(slow_divergence(ours, theirs))
    assert mean_divergence(ours, theirs) != pytest.approx(mean_divergence(theirs, ours))
    assert mean_divergence(ours, ours) == 0
    # A constant added to all logits of a token changes no distribution.
    assert mean_divergence(ours, [row + 3.0 for row in ours]) == pytest.approx(0, abs=1e-9)


def test_factors_add_what_they_say_and_go_again():
    model, _ = tiny_model()
    before, plain = weights(model), logits(model)
    site = find_sites(model)[0]
    generator = torch.Generator().manual_seed(1)
    tall = torch.randn(site.shape[0], 2, generator=generator)
    wide = torch.randn(2, site.shape[1], generator=generator)
    with add_factors([site], {site.name: (tall, wide)}):
        added = logits(model)
    assert not site.module._forward_hooks
    assert_bits(model, before)
    assert torch.equal(logits(model), plain)
    with torch.no_grad():
        site.matrix().add_(tall @ wide)
    assert torch.allclose(logits(model), added, atol=1e-4)
    assert not torch.allclose(plain, added, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 9), st.integers(0, 99))
def test_the_error_is_what_the_left_out_directions_hold(rows, columns, rank, seed):
    delta = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    tall, wide = factors(delta, rank)
    assert (tall.shape, wide.shape) == ((rows, rank), (rank, columns))
    rest, whole = squared_error(delta, tall, wide)
    sizes = torch.linalg.svdvals(delta.double())
    assert rest == pytest.approx(float(sizes[rank:].square().sum()), abs=1e-4)
    assert whole == pytest.approx(float(sizes.square().sum()), rel=1e-4)
