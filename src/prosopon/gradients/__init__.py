"""Gradients: the persona objective, streaming per site, and the Fisher diagonal."""

from prosopon.gradients.anchor import Anchor
from prosopon.gradients.fisher import fisher_diagonal
from prosopon.gradients.objective import Material, Objective, objective_terms, pair_log_odds
from prosopon.gradients.streaming import check_gradient, stream_gradients, sum_gradients
from prosopon.gradients.teacher import PromptTeacher

__all__ = [
    "Anchor",
    "Material",
    "Objective",
    "PromptTeacher",
    "check_gradient",
    "fisher_diagonal",
    "objective_terms",
    "pair_log_odds",
    "stream_gradients",
    "sum_gradients",
]
