"""SparseGPT against the explicit inverse, one weight at a time in float64."""

import pytest
import torch

from prosopon.criteria import CRITERIA, SiteInputs
from prosopon.errors import OptionError, StatisticsError
from prosopon.statistics import GramStatistics

ROWS, COLUMNS, TOKENS = 6, 12, 40


def layer(seed=0, *, dead=(), columns=COLUMNS):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(columns, columns, generator=generator)
    x = torch.randn(TOKENS, columns, generator=generator) @ mix  # correlated channels
    x[:, list(dead)] = 0
    weight = torch.randn(ROWS, columns, generator=generator)
    gram = GramStatistics.of_batch(x.double().unsqueeze(0), torch.ones(1, TOKENS, dtype=bool))
    return weight, x.double(), gram


def solve(weight, gram, sparsity, pattern="row", **options):
    criterion = CRITERIA.get("sparsegpt")
    parsed = criterion.parse_options(options)
    criterion.check(pattern, sparsity, parsed)
    return criterion.solve(SiteInputs(weight, gram=gram, sparsity=sparsity), pattern, parsed)


def oracle(weight, x, per_block, *, block, percdamp=0.01, rows_compete=False, group=None):
    """Optimal brain surgery with an explicit inverse of what is left of H, weight by weight."""
    h = x.T @ x / len(x)
    for j in range(len(h)):
        if h[j, j] == 0:
            h[j, j] = 1.0
    h = h + percdamp * h.diagonal().mean() * torch.eye(len(h), dtype=torch.float64)
    w = weight.double().clone()
    w[:, (x == 0).all(0)] = 0
    columns = w.shape[1]
    keep = torch.ones_like(w, dtype=torch.bool)
    inverse = [torch.linalg.inv(h[j:, j:]) for j in range(columns)]
    step = group or block
    for start in range(0, columns, step):
        stop = min(start + step, columns)
        cost = torch.stack([w[:, j] ** 2 / inverse[j][0, 0] for j in range(start, stop)], dim=1)
        if rows_compete:
            for flat in cost.flatten().argsort()[: per_block(start, stop)].tolist():
                keep[flat // (stop - start), start + flat % (stop - start)] = False
        else:
            for i in range(len(w)):
                for j in cost[i].argsort()[: per_block(start, stop)].tolist():
                    keep[i, start + j] = False
        for i in range(len(w)):
            for j in range(start, stop):
                if not keep[i, j]:
                    w[i, j:] -= w[i, j] / inverse[j][0, 0] * inverse[j][0]
                    w[i, j] = 0
    return keep, w


@pytest.mark.parametrize("block", [3, 4, 12, 128])
@pytest.mark.parametrize("sparsity", [0.25, 0.5])
def test_rows_against_the_explicit_inverse(block, sparsity):
    weight, x, gram = layer()
    got = solve(weight, gram, sparsity, block=block, compensate=True)
    pruned = int(COLUMNS * sparsity)
    keep, values = oracle(
        weight, x, lambda a, b: pruned * b // COLUMNS - pruned * a // COLUMNS, block=block
    )
    assert torch.equal(got.keep, keep)
    assert (got.keep.sum(1) == COLUMNS - pruned).all()
    torch.testing.assert_close(got.values, values.float(), rtol=1e-4, atol=1e-5)


def test_a_site_whose_rows_compete():
    weight, x, gram = layer(1)
    got = solve(weight, gram, 0.5, "site", block=4, compensate=True)
    keep, values = oracle(weight, x, lambda a, b: ROWS * 2, block=4, rows_compete=True)
    assert torch.equal(got.keep, keep)
    torch.testing.assert_close(got.values, values.float(), rtol=1e-4, atol=1e-5)
    assert got.keep.sum(1).unique().numel() > 1


@pytest.mark.parametrize(
    ("pattern", "kept", "group"), [("2:4", 2, 4), ("1:4", 1, 4), ("4:6", 4, 6)]
)
def test_n_of_m(pattern, kept, group):
    weight, x, gram = layer(2)
    got = solve(weight, gram, 1 - kept / group, pattern, block=5, compensate=True)
    keep, values = oracle(weight, x, lambda a, b: group - kept, block=0, group=group)
    assert torch.equal(got.keep, keep)
    assert (got.keep.view(ROWS, -1, group).sum(2) == kept).all()
    torch.testing.assert_close(got.values, values.float(), rtol=1e-4, atol=1e-5)


def test_compensation_brings_the_outputs_closer_and_the_mask_beats_magnitude():
    weight, x, gram = layer(3)
    got = solve(weight, gram, 0.5, block=4, compensate=True)

    def error(changed):
        return float(((changed.double() - weight.double()) @ x.T).square().sum())

    alone = error(weight * got.keep)
    order = weight.abs().argsort(dim=1)[:, : COLUMNS // 2]
    magnitude = error(weight.scatter(1, order, 0.0))
    assert error(got.values) < 0.5 * alone
    assert error(got.values) < magnitude


def test_the_mask_alone_is_the_same_mask_and_leaves_the_weights():
    weight, _, gram = layer()
    before = weight.clone()
    alone, both = solve(weight, gram, 0.5), solve(weight, gram, 0.5, compensate=True)
    assert alone.values is None
    assert torch.equal(alone.keep, both.keep)
    assert torch.equal(weight, before)
    assert bool((both.values[~both.keep] == 0).all())


def test_uncorrelated_equal_channels_mean_magnitude():
    weight = layer()[0]
    gram = GramStatistics(1, torch.eye(COLUMNS, dtype=torch.float64))
    got = solve(weight, gram, 0.5, compensate=True)
    order = weight.abs().sort(dim=1, descending=True).indices[:, : COLUMNS // 2]
    assert torch.equal(got.keep, torch.zeros_like(got.keep).scatter(1, order, True))
    torch.testing.assert_close(got.values, weight * got.keep)


def test_dead_channels_go_first_and_do_no_harm():
    weight, x, gram = layer(4, dead=(2, 7, 9))
    got = solve(weight, gram, 0.25, compensate=True)
    assert not got.keep[:, [2, 7, 9]].any()
    keep, values = oracle(weight, x, lambda a, b: 3, block=128)
    assert torch.equal(got.keep, keep)
    torch.testing.assert_close(got.values, values.float(), rtol=1e-4, atol=1e-5)
    nothing = GramStatistics(3, torch.zeros(COLUMNS, COLUMNS, dtype=torch.float64))
    assert torch.isfinite(solve(weight, nothing, 0.5, compensate=True).values).all()


def test_fewer_tokens_than_channels_are_damped():
    weight, x, _ = layer(5)
    few = GramStatistics.of_batch(x[:3].unsqueeze(0), torch.ones(1, 3, dtype=bool))
    got = solve(weight, few, 0.5, compensate=True)
    keep, _ = oracle(weight, x[:3], lambda a, b: 6, block=128)
    assert torch.equal(got.keep, keep)


def test_order_of_tokens_and_scale_of_inputs_do_not_matter():
    weight, _, gram = layer()
    scaled = GramStatistics(gram.tokens, gram.total * 64)
    assert torch.equal(solve(weight, gram, 0.5).keep, solve(weight, scaled, 0.5).keep)


@pytest.mark.parametrize(
    ("pattern", "sparsity", "options", "message"),
    [
        ("global", 0.5, {}, "one site at a time: pattern 'row', 'site' or N:M"),
        ("5:10", 0.5, {}, "12 columns cannot be cut into groups of 10"),
        ("row", 0.5, {"percdamp": 0}, "percdamp=0.0: must be above 0"),
        ("row", 0.5, {"block": 0}, "block=0: must be at least 1"),
        ("row", 0.5, {"compensate": "perhaps"}, "choose true or false"),
    ],
)
def test_what_has_no_meaning(pattern, sparsity, options, message):
    weight, _, gram = layer()
    with pytest.raises(OptionError, match=message):
        solve(weight, gram, sparsity, pattern, **options)


def test_gram_matrices_that_do_not_fit():
    weight, _, gram = layer()
    with pytest.raises(OptionError, match="needs a Gram matrix"):
        solve(weight, None, 0.5)
    with pytest.raises(StatisticsError, match="12 channels does not fit a weight of 5"):
        solve(weight[:, :5], gram, 0.5)
    with pytest.raises(StatisticsError, match="no tokens"):
        solve(weight, GramStatistics.zero(COLUMNS), 0.5)
    broken = GramStatistics(1, -torch.eye(COLUMNS, dtype=torch.float64))
    with pytest.raises(StatisticsError, match="cannot be inverted"):
        solve(weight, broken, 0.5)
