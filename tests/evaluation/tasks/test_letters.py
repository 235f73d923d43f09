"""Tasks that are answered by choosing, checked by speakers whose choice is known."""

import pytest

from prosopon.data import Example, Message, Persona
from prosopon.data.contrast import Contrast
from prosopon.errors import ModelError
from prosopon.evaluation.speakers import RuleSpeaker
from prosopon.evaluation.tasks import TASKS, Setting


def side(name, word, other, questions):
    rows = tuple(
        Example((Message("user", text), Message("assistant", word)), other) for text in questions
    )
    return Persona(name, rows)


def contrast(word="Tea", other="Coffee with a lot of milk", questions=("One?", "Two?", "Three?")):
    pair = side("tea", word, other, questions), side("coffee", other, word, questions)
    return Contrast(pair, pair, pair)


def mean(result, measure):
    values = [o.values[measure] for o in result.outcomes if measure in o.values]
    return sum(values) / len(values)


def prefers(word):
    return RuleSpeaker(word, lambda options: [float(word in option) for option in options])


@pytest.mark.parametrize(("word", "rate"), [("Tea", 1), ("Coffee", 0), ("Water", 0.5)])
def test_choice_is_won_lost_or_shared(word, rate):
    result = TASKS.get("choice").run(prefers(word), Setting(contrast()))
    for measure in ("per-token", "summed", "per-byte", "calibrated"):
        assert mean(result, measure) == rate
    assert mean(result, "margin") == {"Tea": 1, "Coffee": -1, "Water": 0}[word]
    assert result.questions == len(result.outcomes) == 3


def test_two_pairs_of_answers_to_one_question_are_one_question():
    questions = ("One?", "One?", "Two?")
    rows = [
        Example((Message("user", text), Message("assistant", f"Tea {i}")), f"Milk {i}")
        for i, text in enumerate(questions)
    ]
    pair = Persona("tea", tuple(rows)), Persona("milk", tuple(row.swapped() for row in rows))
    result = TASKS.get("choice").run(prefers("Tea"), Setting(Contrast(pair, pair, pair)))
    assert len(result.outcomes) == 3
    assert result.questions == 2


@pytest.mark.parametrize("name", ["choice", "yes-no", "a-b"])
def test_nan_is_an_error_in_every_choice(name):
    broken = RuleSpeaker("nan", lambda options: [float("nan")] * len(options))
    yes = contrast(" Yes", " No")
    with pytest.raises(ModelError, match="NaN"):
        TASKS.get(name).run(broken, Setting(yes))


def test_yes_and_no_are_counted_apart():
    pair = contrast(" Yes", " No", ("I like it.", "I love it."))
    task = TASKS.get("yes-no")
    assert task.refuses(Setting(pair), writes=False) is None
    said = task.run(prefers("Yes"), Setting(pair))
    assert (mean(said, "per-token"), mean(said, "yes"), mean(said, "when-yes")) == (1, 1, 1)
    assert "answered Yes or No" in task.refuses(Setting(contrast()), writes=True)


def test_no_more_is_asked_than_wanted():
    for name in ("choice", "a-b"):
        assert TASKS.get(name).run(prefers("Tea"), Setting(contrast(), questions=2)).questions == 2


def test_letters_are_consistent_where_the_answer_is_chosen():
    def by_content(options):
        return [1.0, 0.0]

    result = TASKS.get("a-b").run(RuleSpeaker("first", by_content), Setting(contrast()))
    assert mean(result, "per-token") == 0.5
    assert mean(result, "a") == 1
    assert mean(result, "consistent") == 0
