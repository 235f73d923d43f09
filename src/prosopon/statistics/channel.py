"""Statistics of the input channels of a site, as a monoid: two halves add up to the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from prosopon.statistics.container import Sums

if TYPE_CHECKING:
    from torch import Tensor

# The tensor fields, in the order in which they are saved.
SUMS = ("total", "total_abs", "total_square", "norm_total", "rms_total", "rms_square_total")

_PIECE = 1 << 18  # numbers looked at together on the CPU: one megabyte as float32


@dataclass(frozen=True)
class ChannelStatistics(Sums):
    """Sums over the tokens in scope of one site's input, per channel.

    All tensors are float64, ``[in_features]``. A *sample* is one calibration text; its *norm* is
    the L2 norm of the channel over the sample's tokens, its *rms* the norm divided by the square
    root of the number of tokens, which does not grow with length. Of an expert the tokens and
    samples that came to it count; where none did, means and variances are 0.
    """

    title = "statistics"

    samples: int  # number of samples counted
    total: Tensor  # sum of the channel's values
    total_abs: Tensor  # sum of absolute values
    total_square: Tensor  # sum of squares; it is also the sum over samples of the squared norm
    norm_total: Tensor  # sum over samples of the norm
    rms_total: Tensor  # sum over samples of the rms
    rms_square_total: Tensor  # sum over samples of the squared rms

    @classmethod
    def zero(cls, channels: int) -> ChannelStatistics:
        """Return the neutral element for ``channels`` input channels."""
        return cls(0, 0, *(torch.zeros(channels, dtype=torch.float64) for _ in SUMS))

    @classmethod
    def of_batch(cls, values: Tensor, mask: Tensor) -> ChannelStatistics:
        """Return the statistics of one batch, each row of which is one sample.

        Sums over a few hundred tokens are float32 (float64 where the input is), further ones
        float64.
        """
        total, total_abs, square = _sums(values, mask)
        counts = mask.sum(1, keepdim=True).double()
        norm, rms = square.sqrt(), (square / counts).sqrt()
        sums = (total, total_abs, square, norm, rms, rms.square())
        return cls(int(mask.sum()), len(values), *(x.sum(0).cpu() for x in sums))

    @property
    def mean(self) -> Tensor:
        """Mean value per token."""
        return self.total / max(self.tokens, 1)

    @property
    def mean_abs(self) -> Tensor:
        """A_j = E|h_j|, the paper's activation statistic."""
        return self.total_abs / max(self.tokens, 1)

    @property
    def variance(self) -> Tensor:
        """Variance over tokens (population)."""
        return (self.total_square / max(self.tokens, 1) - self.mean.square()).clamp_min(0)

    @property
    def norm_mean(self) -> Tensor:
        """Mean over samples of the L2 norm over the sample's tokens."""
        return self.norm_total / max(self.samples, 1)

    @property
    def norm_variance(self) -> Tensor:
        """Variance over samples (population) of the L2 norm."""
        return (self.total_square / max(self.samples, 1) - self.norm_mean.square()).clamp_min(0)

    @property
    def rms_mean(self) -> Tensor:
        """Mean over samples of the root mean square over the sample's tokens."""
        return self.rms_total / max(self.samples, 1)

    @property
    def rms_variance(self) -> Tensor:
        """Variance over samples (population) of the root mean square."""
        return (self.rms_square_total / max(self.samples, 1) - self.rms_mean.square()).clamp_min(0)


def _sums(values: Tensor, mask: Tensor) -> Tensor:
    """Return the sums over each row's tokens in scope of the values, their size and square.

    On the CPU a few tokens are taken at a time, so that what is made of them stays in the cache:
    beside the forward pass it is memory traffic that costs time, not arithmetic.

    Returns:
        float64 [3, rows, channels] on the values' device.
    """
    rows, length, channels = values.shape
    on_cpu = values.device.type == "cpu"
    most = _PIECE if on_cpu else values.numel()
    tokens = max(1, min(length, most // channels))
    step = max(1, most // (length * channels))
    sums = torch.zeros(3, rows, channels, dtype=torch.float64, device=values.device)
    for row in range(0, rows, step):
        for token in range(0, length, tokens):
            piece = values[row : row + step, token : token + tokens]
            inside = mask[row : row + step, token : token + tokens]
            wide = piece if piece.dtype == torch.float64 else piece.float()
            if not (on_cpu and bool(inside.all())):
                # A fully masked query may hold NaN, so it is replaced, not multiplied by zero.
                wide = torch.where(inside.unsqueeze(-1), wide, wide.new_zeros(()))
            part = sums[:, row : row + step]
            part[0] += wide.sum(1)
            part[1] += wide.abs().sum(1)
            part[2] += wide.square().sum(1)
    return sums
