"""Evaluation: what is asked of a model, by tasks and speakers, and how answers are scored."""

from prosopon.evaluation.choice import ChoiceRates, choice_rates
from prosopon.evaluation.grammar_tasks import TextShares, free_text, neutral_accuracy
from prosopon.lm.likelihood import perplexity

__all__ = [
    "ChoiceRates",
    "TextShares",
    "choice_rates",
    "free_text",
    "neutral_accuracy",
    "perplexity",
]
