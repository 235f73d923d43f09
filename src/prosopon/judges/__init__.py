"""Judges: who says whose a text is, and whether it is still language."""

from prosopon.judges.base import Judge, Verdict
from prosopon.judges.classifier import MINIMUM, ClassifierJudge
from prosopon.judges.degeneration import Degeneration, degeneration

__all__ = ["MINIMUM", "ClassifierJudge", "Degeneration", "Judge", "Verdict", "degeneration"]
