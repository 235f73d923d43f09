"""Statistics of the input channels of a site, as a monoid: two halves add up to the whole."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from prosopon.errors import StatisticsError

# The tensor fields, in the order in which they are saved.
SUMS = ("total", "total_abs", "total_square", "norm_total", "rms_total", "rms_square_total")

_PIECE = 1 << 18  # numbers looked at together on the CPU: one megabyte as float32


@dataclass(frozen=True)
class ChannelStatistics:
    """Sums over the tokens in scope of one site's input, per channel.

    All tensors are float64 of shape ``[in_features]`` on the CPU. A *sample* is one calibration
    text; its *norm* is the L2 norm of the channel over the sample's tokens, its *rms* the norm
    divided by the square root of the number of tokens, which does not grow with length.

    Attributes:
        tokens: Number of tokens counted.
        samples: Number of samples counted.
        total: Sum of the channel's values.
        total_abs: Sum of absolute values.
        total_square: Sum of squares; it is also the sum over samples of the squared norm.
        norm_total: Sum over samples of the norm.
        rms_total: Sum over samples of the rms.
        rms_square_total: Sum over samples of the squared rms.
    """

    tokens: int
    samples: int
    total: Tensor
    total_abs: Tensor
    total_square: Tensor
    norm_total: Tensor
    rms_total: Tensor
    rms_square_total: Tensor

    @classmethod
    def zero(cls, channels: int) -> ChannelStatistics:
        """Return the neutral element for ``channels`` input channels."""
        return cls(0, 0, *(torch.zeros(channels, dtype=torch.float64) for _ in SUMS))

    @classmethod
    def of_batch(cls, values: Tensor, mask: Tensor) -> ChannelStatistics:
        """Return the statistics of one batch.

        Args:
            values: Inputs of a site, any floating dtype, ``[rows, length, channels]``. Each row
                is one sample.
            mask: The tokens in scope, bool, ``[rows, length]``; at least one in every row.

        Sums over a few hundred tokens are float32 (float64 where the input is), further ones
        float64.
        """
        total, total_abs, square = _sums(values, mask)
        counts = mask.sum(1, keepdim=True).double()
        norm, rms = square.sqrt(), (square / counts).sqrt()
        sums = (total, total_abs, square, norm, rms, rms.square())
        return cls(int(mask.sum()), len(values), *(x.sum(0).cpu() for x in sums))

    def __add__(self, other: ChannelStatistics) -> ChannelStatistics:
        """Merge: the statistics of both sets of samples together.

        Raises:
            StatisticsError: The numbers of channels differ.
        """
        self._check(other)
        values = [getattr(self, f.name) + getattr(other, f.name) for f in fields(self)]
        return ChannelStatistics(*values)

    def absorb(self, other: ChannelStatistics) -> ChannelStatistics:
        """Do the same in place: this object's tensors become the sums, and the result holds them.

        For accumulators. Small lasting tensors made in the middle of a forward pass would lie
        between its large ones and keep the C library from giving their memory back.

        Raises:
            StatisticsError: The numbers of channels differ.
        """
        self._check(other)
        sums = [getattr(self, name).add_(getattr(other, name)) for name in SUMS]
        return ChannelStatistics(self.tokens + other.tokens, self.samples + other.samples, *sums)

    def _check(self, other: ChannelStatistics) -> None:
        if self.channels != other.channels:
            raise StatisticsError(
                f"cannot merge statistics of {self.channels} and of {other.channels} channels"
            )

    @property
    def is_finite(self) -> bool:
        """Whether no sum is NaN or infinite; a square shows what any value does."""
        return bool(torch.isfinite(self.total_square).all())

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return self.total.numel()

    @property
    def mean(self) -> Tensor:
        """Mean value per token."""
        return self.total / self.tokens

    @property
    def mean_abs(self) -> Tensor:
        """A_j = E|h_j|, the paper's activation statistic."""
        return self.total_abs / self.tokens

    @property
    def variance(self) -> Tensor:
        """Variance over tokens (population)."""
        return (self.total_square / self.tokens - self.mean.square()).clamp_min(0)

    @property
    def norm_mean(self) -> Tensor:
        """Mean over samples of the L2 norm over the sample's tokens."""
        return self.norm_total / self.samples

    @property
    def norm_variance(self) -> Tensor:
        """Variance over samples (population) of the L2 norm."""
        return (self.total_square / self.samples - self.norm_mean.square()).clamp_min(0)

    @property
    def rms_mean(self) -> Tensor:
        """Mean over samples of the root mean square over the sample's tokens."""
        return self.rms_total / self.samples

    @property
    def rms_variance(self) -> Tensor:
        """Variance over samples (population) of the root mean square."""
        return (self.rms_square_total / self.samples - self.rms_mean.square()).clamp_min(0)


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
