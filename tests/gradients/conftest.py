"""The encoded examples of the statistics tests."""

from tests.statistics.conftest import examples

__all__ = ["examples"]
