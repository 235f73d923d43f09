"""Sweeps: every criterion at every sparsity, calibration size and seed, resumable, in one table."""

from prosopon.sweep.assembly import Source, assemble
from prosopon.sweep.grid import CONTROL_MASKS, CONTROLS, Cell, Grid, Sparsity, parse_sparsity
from prosopon.sweep.runner import SweepRunner
from prosopon.sweep.store import Record, Store
from prosopon.sweep.subjects import BundledSubjects, PairSubject, Subject, Subjects
from prosopon.sweep.summary import Summary, markdown, summarise
from prosopon.sweep.tables import write_tables

__all__ = [
    "CONTROLS",
    "CONTROL_MASKS",
    "BundledSubjects",
    "Cell",
    "Grid",
    "PairSubject",
    "Record",
    "Source",
    "Sparsity",
    "Store",
    "Subject",
    "Subjects",
    "Summary",
    "SweepRunner",
    "assemble",
    "markdown",
    "parse_sparsity",
    "summarise",
    "write_tables",
]
