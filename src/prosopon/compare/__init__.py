"""Comparison: every arm on the same data, model and questions, in one folder."""

from prosopon.compare.assembly import Source, assemble, judges_of, settings_of
from prosopon.compare.plan import DEFAULT_TASKS, REQUIRED, Cell, Plan, Sizes, arm_names
from prosopon.compare.records import Record, Results
from prosopon.compare.report import Section
from prosopon.compare.runner import CompareRunner, ask
from prosopon.compare.summary import Comparison, Row, Summary, summarise
from prosopon.compare.words import conclusions, sentence
from prosopon.compare.writing import write_results

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
    "judges_of",
    "sentence",
    "settings_of",
    "summarise",
    "write_results",
]
