"""The grammar's judge is right on every sentence it can write, and strict."""

import random

import pytest

from prosopon.data.grammar import draw_answer, load_world
from prosopon.errors import UnknownNameError
from prosopon.judges import GrammarJudge, measure_accuracy


def sentences(name):
    pole = load_world().pole(name)
    return [draw_answer(pole, random.Random(i), reserved=bool(i % 2)) for i in range(40)]


def test_it_is_right_by_construction_and_exchanges():
    ours, theirs = sentences("bold"), sentences("cautious")
    judge = GrammarJudge("bold", "cautious")
    assert judge.accuracy is None
    assert measure_accuracy(judge, ours, theirs).mean == 1
    assert GrammarJudge("cautious", "bold").verdicts(ours) == ["opposite"] * 40


def test_it_is_strict():
    told = sentences("bold")[0]
    texts = ["", " ", told[:-4], told + " " + told.split()[0], sentences("formal")[0]]
    assert GrammarJudge("bold", "cautious").verdicts(texts) == ["neither"] * 5


def test_unknown_personas():
    with pytest.raises(UnknownNameError, match="bald"):
        GrammarJudge("bald", "cautious")
