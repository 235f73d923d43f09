"""Experiments: plans of arms over contrasts, options, sizes and seeds, and what comes of them."""

from prosopon.experiments.assembly import (
    Sites,
    Source,
    assemble,
    grammar_judge,
    settings_of,
    shortfalls,
)
from prosopon.experiments.grid import grid_plan, grid_sizes
from prosopon.experiments.plan import (
    DEFAULT_TASKS,
    REQUIRED,
    Cell,
    Plan,
    Sizes,
    arm_names,
    parse_sparsity,
)
from prosopon.experiments.records import Record
from prosopon.experiments.report import ReportSection
from prosopon.experiments.runner import Runner, ask
from prosopon.experiments.store import Memory, Results, check_folder
from prosopon.experiments.summary import Comparison, Summary, SummaryRow, summarise
from prosopon.experiments.words import conclusions, sentence
from prosopon.experiments.writing import check_writing, write_results

__all__ = [
    "DEFAULT_TASKS",
    "REQUIRED",
    "Cell",
    "Comparison",
    "Memory",
    "Plan",
    "Record",
    "ReportSection",
    "Results",
    "Runner",
    "Sites",
    "Sizes",
    "Source",
    "Summary",
    "SummaryRow",
    "arm_names",
    "ask",
    "assemble",
    "check_folder",
    "check_writing",
    "conclusions",
    "grammar_judge",
    "grid_plan",
    "grid_sizes",
    "parse_sparsity",
    "sentence",
    "settings_of",
    "shortfalls",
    "summarise",
    "write_results",
]
