"""Evaluation: tasks, scorers and arms."""

from prosopon.evaluation.choice import ChoiceRates, choice_rates
from prosopon.evaluation.demonstration import DEMO_ARMS, ArmResult, ArmRunner, Sizes
from prosopon.evaluation.grammar_meter import GrammarMeter
from prosopon.evaluation.grammar_tasks import TextShares, free_text, neutral_accuracy
from prosopon.evaluation.measures import MEASURES, Effort, Measures, Meter, perplexity
from prosopon.evaluation.pair_meter import PairMeter

__all__ = [
    "DEMO_ARMS",
    "MEASURES",
    "ArmResult",
    "ArmRunner",
    "ChoiceRates",
    "Effort",
    "GrammarMeter",
    "Measures",
    "Meter",
    "PairMeter",
    "Sizes",
    "TextShares",
    "choice_rates",
    "free_text",
    "neutral_accuracy",
    "perplexity",
]
