"""RIA's importance, OWL's ratios and the set difference, against slow loops."""

import math
from statistics import fmean, pvariance

import pytest
import torch

from prosopon.criteria import CRITERIA, SiteInputs, layer_sparsities, outlier_share
from prosopon.criteria.family import effect_size, row_shares, top_of_rows, weight_importance
from prosopon.errors import OptionError
from prosopon.statistics import ChannelStatistics

WEIGHT = torch.randn(6, 20, generator=torch.Generator().manual_seed(3))


def side(seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(5, 8, 20, generator=generator) * torch.rand(20, generator=generator)
    return values.flatten(0, 1), ChannelStatistics.of_batch(values, torch.ones(5, 8, dtype=bool))


TARGET, OPPOSITE, GENERAL = side(1), side(2), side(3)
INPUTS = SiteInputs(WEIGHT, target=TARGET[1], opposite=OPPOSITE[1], general=GENERAL[1])


def score(name, inputs=INPUTS, **options):
    criterion = CRITERIA.get(name)
    return criterion.score(inputs, criterion.parse_options(options))


def relative(i, j):
    size = WEIGHT.abs()
    return float(size[i, j] / size[i].sum() + size[i, j] / size[:, j].sum())


@pytest.mark.parametrize("alpha", [0.5, 1.0, 0.0])
def test_ria(alpha):
    activation = TARGET[0].abs().mean(0)
    expected = [
        [relative(i, j) * float(activation[j]) ** alpha for j in range(20)] for i in range(6)
    ]
    got = score("wanda", importance="relative", alpha=alpha)
    torch.testing.assert_close(got, torch.tensor(expected))


def test_relative_importance_in_contrastive_wanda():
    plain = score("contrastive-wanda", phi="softplus")
    ria = score("contrastive-wanda", phi="softplus", importance="relative")
    expected = [[relative(i, j) / abs(float(WEIGHT[i, j])) for j in range(20)] for i in range(6)]
    torch.testing.assert_close(ria / plain, torch.tensor(expected))


def test_rows_and_columns_of_zeros_count_nothing():
    weight = WEIGHT.clone()
    weight[2], weight[:, 5] = 0, 0
    for kind in ("magnitude", "relative"):
        got = weight_importance(weight, kind)
        assert torch.isfinite(got).all()
        assert not got[2].any()
        assert not got[:, 5].any()
    assert not row_shares(weight.abs())[2].any()
    torch.testing.assert_close(row_shares(WEIGHT.abs()).sum(1), torch.ones(6))


def test_the_share_of_outliers():
    scores = [torch.tensor([[1.0, 1.0, 1.0, 9.0]]), torch.tensor([[1.0], [20.0]])]
    mean = 33 / 6
    for multiple in (1.0, 1.5, 5.0):
        expected = sum(s > multiple * mean for s in (1, 1, 1, 9, 1, 20)) / 6
        assert outlier_share(scores, multiple) == pytest.approx(expected)
    assert outlier_share([torch.zeros(2, 2)], 5.0) == 0


def test_layers_with_more_outliers_are_pruned_less():
    got = layer_sparsities({0: 0.02, 1: 0.05, 2: 0.08}, {0: 10, 1: 10, 2: 10}, 0.5, 0.08)
    # OWL: kept = 2 lambda (D - min) / (max - min), moved so that its mean is 1 - S
    assert got == pytest.approx({0: 0.58, 1: 0.5, 2: 0.42})
    uneven = layer_sparsities({0: 0.1, 1: 0.3}, {0: 30, 1: 10}, 0.4, 0.1)
    assert (30 * uneven[0] + 10 * uneven[1]) / 40 == pytest.approx(0.4)
    assert uneven[0] - uneven[1] == pytest.approx(0.2)
    assert layer_sparsities({0: 0.1, 1: 0.1}, {0: 3, 1: 9}, 0.3, 0.2) == {0: 0.3, 1: 0.3}


def test_a_layer_cannot_lose_everything():
    with pytest.raises(OptionError, match=r"would prune a share of 1\.\d+ of layer 0"):
        layer_sparsities({0: 0.0, 1: 0.1}, {0: 1, 1: 1}, 0.9, 0.2)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 1.0])
def test_the_top_of_a_row(share):
    got = top_of_rows(WEIGHT, share)
    for i in range(6):
        order = sorted(range(20), key=lambda j: -float(WEIGHT[i, j]))
        assert set(got[i].nonzero().flatten().tolist()) == set(order[: int(share * 20)])


@pytest.mark.parametrize(("p", "q", "general"), [(0.5, 0.2, 0.1), (0.3, 0.0, 0.0), (1.0, 0.4, 0.5)])
def test_set_difference(p, q, general):
    got = score("set-difference", p=p, q=q, general=general)

    def wanda(values):
        return WEIGHT.abs() * values.abs().mean(0)

    ours, theirs, all_text = wanda(TARGET[0]), wanda(OPPOSITE[0]), wanda(GENERAL[0])

    def top(row, share):
        return set(sorted(range(20), key=lambda j: -row[j])[: int(share * 20 + 1e-9)])

    for i in range(6):
        pruned = top(theirs[i].tolist(), p) - top(ours[i].tolist(), q)
        pruned -= top(all_text[i].tolist(), general)
        assert set(got[i].isfinite().nonzero().flatten().tolist()) == pruned
        for j in pruned:
            contrast = ours[i, j] / ours[i].sum() - theirs[i, j] / theirs[i].sum()
            assert float(got[i, j]) == pytest.approx(20 * float(contrast), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("wanda", {"owl": 0.5}, "owl=0.5: must lie in"),
        ("wanda", {"outlier": 0}, "outlier=0.0: must be above 0"),
        ("wanda", {"alpha": -1}, "must not be negative"),
        ("wanda", {"importance": "huge"}, "choose one of magnitude, relative"),
        ("contrastive-wanda", {"owl": -0.1}, "must lie in"),
        ("set-difference", {"p": 0}, "p=0.0: must lie in"),
        ("set-difference", {"q": 1}, "q=1.0: must lie in"),
        ("set-difference", {"general": -1}, "must lie in"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(OptionError, match=message):
        CRITERIA.get(name).parse_options(options)


KINDS = {  # the numbers whose mean and variance a kind of moments is, of values [texts, tokens, in]
    "value": lambda values: values.flatten(0, 1),
    "size": lambda values: values.flatten(0, 1).abs(),
    "norm": lambda values: values.square().sum(1).sqrt(),
    "rms": lambda values: values.square().mean(1).sqrt(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eps", [0.0, 0.5])
def test_effect_sizes_channel_by_channel(kind, eps):
    sides = [torch.randn(5, 8, 20, dtype=torch.float64) * scale for scale in (1.0, 2.5)]
    sums = [ChannelStatistics.of_batch(values, torch.ones(5, 8, dtype=bool)) for values in sides]
    ahead, back = effect_size(*sums, kind, eps), effect_size(*sums[::-1], kind, eps)
    for channel in range(20):
        first, second = (KINDS[kind](values)[:, channel].tolist() for values in sides)
        spread = math.sqrt(pvariance(first) + pvariance(second)) + eps
        expected = (fmean(first) - fmean(second)) / spread
        assert float(ahead[channel]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert torch.equal(ahead, -back)


@pytest.mark.parametrize("kind", KINDS)
def test_a_channel_without_variance_has_no_effect_and_nan_stays_nan(kind):
    whole = torch.ones(3, 4, dtype=torch.bool)
    flat, other = (ChannelStatistics.of_batch(torch.full((3, 4, 2), v), whole) for v in (1.0, 3.0))
    assert effect_size(flat, other, kind).tolist() == [0, 0]
    broken = torch.randn(3, 4, 2)
    broken[0, 0, 1] = torch.nan
    got = effect_size(ChannelStatistics.of_batch(broken, whole), other, kind)
    assert got.isnan().tolist() == [False, True]
