"""Settings of the property tests."""

from __future__ import annotations

from hypothesis import settings

# The first example of a test pays for imports and compiled templates, so a deadline on single
# examples measures the machine and not the code.
settings.register_profile("prosopon", deadline=None)
settings.load_profile("prosopon")
