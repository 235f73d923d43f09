"""Channel statistics against a slow oracle, and their merging."""

import pytest
import torch

from prosopon.errors import StatisticsError
from prosopon.statistics import ChannelStatistics, channel


def oracle(samples):
    """Loop over samples and tokens in float64; samples are [tokens, channels]."""
    flat = torch.cat(samples)
    norms = torch.stack([s.square().sum(0).sqrt() for s in samples])
    rms = torch.stack([s.square().mean(0).sqrt() for s in samples])
    return {
        "mean": flat.mean(0),
        "mean_abs": flat.abs().mean(0),
        "variance": flat.var(0, unbiased=False),
        "norm_mean": norms.mean(0),
        "norm_variance": norms.var(0, unbiased=False),
        "rms_mean": rms.mean(0),
        "rms_variance": rms.var(0, unbiased=False),
    }


def make(rows, lengths, channels=5, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, max(lengths), channels, generator=generator).to(dtype)
    mask = torch.zeros(rows, max(lengths), dtype=torch.bool)
    for row, length in enumerate(lengths):
        mask[row, :length] = True
    return values, mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_against_the_oracle(dtype):
    values, mask = make(4, [3, 7, 1, 5], dtype=dtype)
    got = ChannelStatistics.of_batch(values, mask)
    samples = [values[i][mask[i]].double() for i in range(4)]
    for name, expected in oracle(samples).items():
        torch.testing.assert_close(getattr(got, name), expected, rtol=1e-5, atol=1e-6)
    assert (got.tokens, got.samples) == (16, 4)


def test_masked_nan_does_not_count():
    values, mask = make(2, [2, 4])
    clean = ChannelStatistics.of_batch(values, mask)
    values[0, 2:] = float("nan")
    dirty = ChannelStatistics.of_batch(values, mask)
    assert torch.equal(clean.total_square, dirty.total_square)
    assert torch.equal(clean.rms_total, dirty.rms_total)


def test_monoid():
    parts = [ChannelStatistics.of_batch(*make(3, [4, 2, 6], seed=s)) for s in range(3)]
    a, b, c = parts
    zero = ChannelStatistics.zero(5)
    for name in ("total", "total_abs", "total_square", "norm_total", "rms_square_total"):
        left, right = getattr((a + b) + c, name), getattr(a + (b + c), name)
        torch.testing.assert_close(left, right, rtol=1e-14, atol=1e-14)
        assert torch.equal(getattr(a + zero, name), getattr(a, name))
        assert torch.equal(getattr(a + b, name), getattr(b + a, name))
    assert (a + b).samples == 6


def test_merge_of_other_width():
    with pytest.raises(StatisticsError, match="5 and of 6"):
        ChannelStatistics.zero(5) + ChannelStatistics.zero(6)


def test_pieces_do_not_change_the_sums(monkeypatch):
    values, mask = make(3, [7, 2, 5])
    mask[0, :4] = False  # a piece with no token in scope
    whole = ChannelStatistics.of_batch(values, mask)
    for piece in (1, 10, 40, 70):  # single tokens, two tokens, whole rows, two rows
        monkeypatch.setattr(channel, "_PIECE", piece)
        got = ChannelStatistics.of_batch(values, mask)
        for name in channel.SUMS:
            torch.testing.assert_close(getattr(got, name), getattr(whole, name))


def test_absorbing_is_adding_in_place():
    parts = [ChannelStatistics.of_batch(*make(2, [3, 2], seed=seed)) for seed in range(2)]
    expected, held = parts[0] + parts[1], parts[0].total
    got = parts[0].absorb(parts[1])
    assert (got.tokens, got.samples) == (expected.tokens, expected.samples)
    for name in channel.SUMS:
        assert torch.equal(getattr(got, name), getattr(expected, name))
    assert got.total is held
    with pytest.raises(StatisticsError, match="of 5 and of 3 channels"):
        got.absorb(ChannelStatistics.zero(3))
