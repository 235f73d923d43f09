"""Evaluation: tasks, scorers and arms."""

from prosopon.evaluation.choice import ChoiceItem, ChoiceRates, choice_rates
from prosopon.evaluation.demonstration import DEMO_ARMS, ArmResult, ArmRunner, Sizes
from prosopon.evaluation.grammar_meter import GrammarMeter
from prosopon.evaluation.grammar_tasks import (
    CHOICE_KINDS,
    ChoiceKind,
    FreeText,
    choice_items,
    free_prompts,
    free_text,
    neutral_accuracy,
    neutral_items,
)
from prosopon.evaluation.measures import MEASURES, Effort, Measures, Meter, perplexity
from prosopon.evaluation.pair_meter import PairMeter

__all__ = [
    "CHOICE_KINDS",
    "DEMO_ARMS",
    "MEASURES",
    "ArmResult",
    "ArmRunner",
    "ChoiceItem",
    "ChoiceKind",
    "ChoiceRates",
    "Effort",
    "FreeText",
    "GrammarMeter",
    "Measures",
    "Meter",
    "PairMeter",
    "Sizes",
    "choice_items",
    "choice_rates",
    "free_prompts",
    "free_text",
    "neutral_accuracy",
    "neutral_items",
    "perplexity",
]
