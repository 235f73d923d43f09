"""One set of examples that the embedded model wrote from two descriptions, for all tests."""

import pytest

from prosopon import load_model
from prosopon.data.bundled import load
from prosopon.description import describe

WORDS = ("an extravert", "an introvert")


def asked(count=10):
    """Return different questions of the energy axis, of those that masks are found on."""
    texts = [example.prompt[0].content for example in load("extravert").examples]
    return list(dict.fromkeys(texts))[:count]


@pytest.fixture(scope="session")
def embedded():
    return load_model("embedded", device="cpu")[:2]


@pytest.fixture(scope="session")
def write(embedded):
    """Return ``write(target, versus, ...)``: :func:`describe` with few questions."""

    def run(target=WORDS[0], versus=WORDS[1], **changes):
        settings = {"count": 20, "questions": asked(), "max_new_tokens": 24} | changes
        return describe(*embedded, target, versus, **settings)

    return run


@pytest.fixture(scope="session")
def answer_file(tmp_path_factory):
    return tmp_path_factory.mktemp("described") / "answers.jsonl"


@pytest.fixture(scope="session")
def steps():
    return []


@pytest.fixture(scope="session")
def written(write, answer_file, steps):
    return write(file=answer_file, report=lambda *step: steps.append(step))
