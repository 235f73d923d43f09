"""One live server for all tests that only ask it."""

import openai
import pytest

from tests.runtime import samples as weights
from tests.serving import samples


@pytest.fixture(scope="module")
def live():
    attached = samples.wearer(personas=("bold", "calm", "heavy"))
    model = attached.model
    base = weights.weights(model)
    with samples.running(attached, kind="continuous") as server:
        yield server
    weights.assert_bits(model, base)


@pytest.fixture(scope="module")
def client(live):
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def attached():
    """Return a tiny model with personas; afterwards its weights are the base's, bit for bit."""
    wearer = samples.wearer(personas=("bold", "calm", "heavy"))
    base = weights.weights(wearer.model)
    yield wearer
    weights.assert_bits(wearer.model, base)
    assert wearer.active is None


@pytest.fixture(scope="session")
def expected():
    """Return what every row of a crowd writes alone, worked out once."""
    return tuple(samples.alone(samples.wearer()))
