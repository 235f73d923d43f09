"""Statistics of activations: sums over examples, so that two halves add up to the whole.

- ``channel``, ``gram``: what is summed of one input.
- ``container``, ``statistics``: the sums of all sites, merged, saved and loaded.
- ``collect``: one pass over the examples.
"""

from prosopon.statistics.channel import ChannelStatistics
from prosopon.statistics.collect import collect_grams, collect_statistics, shared_inputs
from prosopon.statistics.container import SiteSums
from prosopon.statistics.gram import Grams, GramStatistics, gram_portions
from prosopon.statistics.statistics import Statistics, merge

__all__ = [
    "ChannelStatistics",
    "GramStatistics",
    "Grams",
    "SiteSums",
    "Statistics",
    "collect_grams",
    "collect_statistics",
    "gram_portions",
    "merge",
    "shared_inputs",
]
