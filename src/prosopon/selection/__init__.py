"""Selection: pure functions from scores to keep-masks. One pattern, one rule of competition."""

from prosopon.selection.patterns import PATTERNS, Pattern
from prosopon.selection.ranking import keep_largest, keep_largest_per_row, kept_count
from prosopon.selection.selecting import select

__all__ = [
    "PATTERNS",
    "Pattern",
    "keep_largest",
    "keep_largest_per_row",
    "kept_count",
    "select",
]
