"""Judges: who says whose a text is, and whether it is still language."""

from prosopon.judges.accuracy import balanced_accuracy, measure_accuracy
from prosopon.judges.agreement import agreement, either
from prosopon.judges.base import Judge, Verdict
from prosopon.judges.classifier import MINIMUM, ClassifierJudge
from prosopon.judges.degeneration import Degeneration, degeneration
from prosopon.judges.embeddings import sentence_embedder
from prosopon.judges.gated import GatedJudge
from prosopon.judges.grammar import GrammarJudge
from prosopon.judges.leaving import leaves_role
from prosopon.judges.llm import LLMJudge
from prosopon.judges.panel import judges_of, poles, tells_apart
from prosopon.judges.reader import BaseReader
from prosopon.judges.recital import Recital
from prosopon.judges.signs import SIGNS, count_signs
from prosopon.judges.three_way import ThreeWayJudge

__all__ = [
    "MINIMUM",
    "SIGNS",
    "BaseReader",
    "ClassifierJudge",
    "Degeneration",
    "GatedJudge",
    "GrammarJudge",
    "Judge",
    "LLMJudge",
    "Recital",
    "ThreeWayJudge",
    "Verdict",
    "agreement",
    "balanced_accuracy",
    "count_signs",
    "degeneration",
    "either",
    "judges_of",
    "leaves_role",
    "measure_accuracy",
    "poles",
    "sentence_embedder",
    "tells_apart",
]
