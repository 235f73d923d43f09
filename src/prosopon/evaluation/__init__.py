"""Evaluation: tasks, scorers and arms."""

from prosopon.evaluation.arms import ARMS, ArmResult, ArmRunner, Sizes
from prosopon.evaluation.choice import (
    AnswerScore,
    ChoiceItem,
    ChoiceRates,
    choice_rates,
    score_answers,
)
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
from prosopon.runtime import generate_answers

__all__ = [
    "ARMS",
    "CHOICE_KINDS",
    "AnswerScore",
    "ArmResult",
    "ArmRunner",
    "ChoiceItem",
    "ChoiceKind",
    "ChoiceRates",
    "FreeText",
    "Sizes",
    "choice_items",
    "choice_rates",
    "free_prompts",
    "free_text",
    "generate_answers",
    "neutral_accuracy",
    "neutral_items",
    "score_answers",
]
