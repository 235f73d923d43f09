"""Comparison: every arm on the same data, model and questions, in one folder."""

from prosopon.experiments.assembly import Source, assemble, settings_of
from prosopon.experiments.plan import DEFAULT_TASKS, REQUIRED, Cell, Plan, Sizes, arm_names
from prosopon.experiments.records import Record, Results
from prosopon.experiments.report import Section
from prosopon.experiments.runner import CompareRunner, ask
from prosopon.experiments.summary import Comparison, Row, Summary, summarise
from prosopon.experiments.words import conclusions, sentence
from prosopon.experiments.writing import write_results

__all__ = [
    "DEFAULT_TASKS",
    "REQUIRED",
    "Cell",
    "CompareRunner",
    "Comparison",
    "Plan",
    "Record",
    "Results",
    "Row",
    "Section",
    "Sizes",
    "Source",
    "Summary",
    "arm_names",
    "ask",
    "assemble",
    "conclusions",
    "sentence",
    "settings_of",
    "summarise",
    "write_results",
]
