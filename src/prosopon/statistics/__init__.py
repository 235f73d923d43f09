"""Statistics of activations, gradients and curvature; every one a sum over examples."""

from prosopon.statistics.channel import ChannelStatistics
from prosopon.statistics.collect import collect_statistics, shared_inputs
from prosopon.statistics.fisher import fisher_diagonal
from prosopon.statistics.gradients import check_gradient, objective_gradients, stream_gradients
from prosopon.statistics.gram import Grams, GramStatistics, collect_grams, gram_portions
from prosopon.statistics.likelihood import (
    answer_log_likelihoods,
    mean_per_row,
    response_mask,
    row_log_likelihoods,
    text_losses,
    token_log_likelihoods,
)
from prosopon.statistics.objective import Material, Objective, objective_terms, pair_log_odds
from prosopon.statistics.sequential import collect_sequential
from prosopon.statistics.statistics import Statistics, merge

__all__ = [
    "ChannelStatistics",
    "GramStatistics",
    "Grams",
    "Material",
    "Objective",
    "Statistics",
    "answer_log_likelihoods",
    "check_gradient",
    "collect_grams",
    "collect_sequential",
    "collect_statistics",
    "fisher_diagonal",
    "gram_portions",
    "mean_per_row",
    "merge",
    "objective_gradients",
    "objective_terms",
    "pair_log_odds",
    "response_mask",
    "row_log_likelihoods",
    "shared_inputs",
    "stream_gradients",
    "text_losses",
    "token_log_likelihoods",
]
