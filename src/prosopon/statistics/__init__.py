"""Statistics of activations: sums over examples, so that two halves add up to the whole.

- ``channel``, ``gram``: what is summed of one input.
- ``container``, ``statistics``: the sums of all sites, merged, saved and loaded.
- ``collect``: one pass over the examples.
"""

from prosopon.statistics.channel import ChannelStatistics
from prosopon.statistics.collect import collect_grams, collect_statistics
from prosopon.statistics.container import SiteSums, Sums
from prosopon.statistics.gram import Grams, GramStatistics, gram_portions
from prosopon.statistics.statistics import Statistics

__all__ = [
    "ChannelStatistics",
    "GramStatistics",
    "Grams",
    "SiteSums",
    "Statistics",
    "Sums",
    "collect_grams",
    "collect_statistics",
    "gram_portions",
]
