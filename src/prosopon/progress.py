"""Progress: how long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all) while something long runs."""
