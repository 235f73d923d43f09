"""The judge for whom the base model is an author too."""

import pytest

from prosopon.errors import DataError
from prosopon.judges import ThreeWayJudge

THINGS = ("sea", "hill", "town", "road", "lake")
OURS = [f"I love the {thing} and would go at once" for thing in THINGS]
THEIRS = [f"I fear the {thing} and would stay away" for thing in THINGS]
BASE = [f"The {thing} is a place in the north" for thing in THINGS]
OURS, THEIRS, BASE = ([*own, *(f"{t} today" for t in own)] for own in (OURS, THEIRS, BASE))


@pytest.fixture(scope="module")
def judge():
    return ThreeWayJudge.fit(OURS, THEIRS, BASE)


def test_the_base_s_way_of_speaking_is_nobody_s(judge):
    texts = [
        "I love the river and would go at once", "I fear the river and would stay away",
        "The river is a place in the north",
    ]  # fmt: skip
    assert judge.poles(texts) == ["target", "opposite", "neither"]
    assert judge.poles(["", *texts[:1]]) == ["neither", "target"]
    assert judge.poles([]) == []
    assert judge.accuracy.mean == 1
    assert judge.useful


def test_no_language_is_nobody_s(judge):
    assert judge.verdicts([OURS[0], "zvezda gorit nad polem", "love"]) == [
        "target", "neither", "neither",
    ]  # fmt: skip
    assert judge.reads([OURS[0], "zvezda gorit nad polem"]) == [True, False]


def test_sides_exchanged_exchange_the_verdicts(judge):
    other = ThreeWayJudge.fit(THEIRS, OURS, BASE)
    texts = ["I love the river", "I fear the river", "The river is north"]
    names = {"target": "opposite", "opposite": "target", "neither": "neither"}
    assert [names[v] for v in judge.poles(texts)] == other.poles(texts)


def test_too_few_texts_of_the_base_are_named():
    with pytest.raises(DataError, match="at least 8 texts of the base"):
        ThreeWayJudge.fit(OURS, THEIRS, BASE[:7])
