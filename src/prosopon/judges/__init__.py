"""Judges: who says whose a text is, and whether it is still language."""

from prosopon.judges.base import Judge, Verdict
from prosopon.judges.classifier import MINIMUM, ClassifierJudge
from prosopon.judges.degeneration import Degeneration, degeneration
from prosopon.judges.grammar import GrammarJudge
from prosopon.judges.llm import LLMJudge, measure_accuracy

__all__ = [
    "MINIMUM",
    "ClassifierJudge",
    "Degeneration",
    "GrammarJudge",
    "Judge",
    "LLMJudge",
    "Verdict",
    "degeneration",
    "measure_accuracy",
]
