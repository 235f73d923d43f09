"""Selection: pure functions from scores to keep-masks.

- ``patterns``: which weights or units compete, in a registry; n:m and lora:R by their names.
- ``lines``: the few rows and columns that hold what lora:R prunes.
- ``selecting``: the checks, then the pattern; all sites at once or one at a time.
- ``units``: whole channels and heads, from groups.
- ``rows``, ``ranking``: the largest of every row, the largest of many numbers.
"""

from prosopon.selection.lines import choose_lines
from prosopon.selection.patterns import (
    PATTERNS,
    Pattern,
    find_pattern,
    n_of_m,
    rows_and_columns,
)
from prosopon.selection.ranking import keep_largest, kept_count
from prosopon.selection.rows import keep_largest_per_row
from prosopon.selection.selecting import Scored, select
from prosopon.selection.units import check_units, select_units

__all__ = [
    "PATTERNS",
    "Pattern",
    "Scored",
    "check_units",
    "choose_lines",
    "find_pattern",
    "keep_largest",
    "keep_largest_per_row",
    "kept_count",
    "n_of_m",
    "rows_and_columns",
    "select",
    "select_units",
]
