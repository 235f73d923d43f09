"""One tiny model for all tests of this folder; whoever wears a mask takes it off again."""

import pytest

from tests.analysis.samples import probe


@pytest.fixture(scope="package")
def asked():
    return probe()
