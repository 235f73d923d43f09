"""Statistics of activations, gradients and curvature; every one a sum over examples."""

from prosopon.statistics.channel import ChannelStatistics
from prosopon.statistics.collect import collect_statistics, shared_inputs
from prosopon.statistics.gram import Grams, GramStatistics, collect_grams, gram_portions
from prosopon.statistics.statistics import Statistics, merge

__all__ = [
    "ChannelStatistics",
    "GramStatistics",
    "Grams",
    "Statistics",
    "collect_grams",
    "collect_statistics",
    "gram_portions",
    "merge",
    "shared_inputs",
]
