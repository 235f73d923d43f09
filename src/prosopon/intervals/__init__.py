"""Intervals and tests: of shares and means, of paired differences, of many of them at once."""

from prosopon.intervals.effects import cohen_d, cohen_h, detectable_difference
from prosopon.intervals.estimates import (
    Interval,
    bootstrap_interval,
    mean_interval,
    ratio_interval,
    share_interval,
)
from prosopon.intervals.paired import Paired, holm, paired_difference, sign_flip_p

__all__ = [
    "Interval",
    "Paired",
    "bootstrap_interval",
    "cohen_d",
    "cohen_h",
    "detectable_difference",
    "holm",
    "mean_interval",
    "paired_difference",
    "ratio_interval",
    "share_interval",
    "sign_flip_p",
]
