"""Judges: who says whose a text is, and whether it is still language."""

from prosopon.judges.accuracy import balanced_accuracy, measure_accuracy
from prosopon.judges.base import Judge, Verdict
from prosopon.judges.classifier import MINIMUM, ClassifierJudge
from prosopon.judges.degeneration import Degeneration, degeneration
from prosopon.judges.embeddings import sentence_embedder
from prosopon.judges.grammar import GrammarJudge
from prosopon.judges.leaving import leaves_role
from prosopon.judges.llm import LLMJudge
from prosopon.judges.panel import judges_of
from prosopon.judges.recital import Recital

__all__ = [
    "MINIMUM",
    "ClassifierJudge",
    "Degeneration",
    "GrammarJudge",
    "Judge",
    "LLMJudge",
    "Recital",
    "Verdict",
    "balanced_accuracy",
    "degeneration",
    "judges_of",
    "leaves_role",
    "measure_accuracy",
    "sentence_embedder",
]
