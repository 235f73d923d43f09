"""The documented arm of one's own runs, and leaves no trace."""

from pathlib import Path

import pytest

from prosopon.arms import ARMS
from prosopon.errors import OptionError
from prosopon.plugins import load_plugin
from tests.arms.samples import PROMPTS, same_weights, state_of, tiny_lab, weights_of

FILE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "own_arm.py"


@pytest.fixture(scope="module")
def arm():
    assert load_plugin(FILE) == {"arm": ["own-words"]}
    yield ARMS.get("own-words")
    ARMS.remove("own-words")


def test_it_is_short():
    lines = [line for line in FILE.read_text("utf-8").splitlines() if line.strip()]
    assert len(lines) < 40


def test_it_speaks_with_the_persona_s_words(arm):
    lab = tiny_lab(options={"count": "3"})
    before, weights = state_of(lab.model), weights_of(lab.model)
    assert arm.refuses(lab) is None
    prepared = arm.prepare(lab)
    line = prepared.cost.details["line"]
    words = line.removeprefix("Use these words: ").split(", ")
    target, opposite = (
        " ".join(e.response for e in side.examples).split() for side in lab.contrast.drawn(8, 0)
    )
    assert len(words) == 3
    assert all(target.count(word) > opposite.count(word) for word in words)
    assert prepared.cost.bytes == len(line)
    with prepared.speaking() as speaker:
        assert all(count > 0 for count in speaker.added_tokens(PROMPTS))
        assert len(speaker.write(PROMPTS, max_new_tokens=3)) == 2
    assert state_of(lab.model) == before
    assert same_weights(lab.model, weights)


def test_its_options_are_checked(arm):
    with pytest.raises(OptionError, match="count"):
        arm.parse({"counts": "3"})
