"""Questionnaires: known respondents get known scores; a liking for a letter gets nothing."""

import dataclasses
import json

import pytest

from prosopon.data.contrast import bundled_contrast
from prosopon.data.questionnaires import load_questionnaire
from prosopon.evaluation.speakers import ModelSpeaker, RuleSpeaker
from prosopon.evaluation.speaking import NORMALISATIONS, OptionScores
from prosopon.evaluation.tasks import TASKS
from prosopon.evaluation.tasks.questionnaire import LABELS, LETTERS, WORDINGS, worded
from tests.tiny import tiny_model


class Respondent:
    """Reads the prompt, and answers as ``says`` tells for its statement: an index of LABELS."""

    writes = False

    def __init__(self, says):
        self.says = says

    def score(self, questions):
        return [self._one(question) for question in questions]

    def _one(self, question):
        lines = question.prompt[-1].content.splitlines()
        label = LABELS[self.says(lines[1].strip('"'))]
        marks = [float(f"({o}) {label}" in lines) for o in question.options]
        return OptionScores(dict.fromkeys(NORMALISATIONS, tuple(marks)))


def extravert(text):
    """Agree with everything an extravert would say, be neither for nor against the rest."""
    keys = {i.text: i.key for s in load_questionnaire("mbti").scales[:1] for i in s.items}
    return 2 + 2 * keys.get(text, 0)


def means(result, measure):
    values = [o.values[measure] for o in result.outcomes if measure in o.values]
    return sum(values) / len(values)


def test_an_extravert_is_found_in_both_orders(setting):
    task = TASKS.get("mbti")
    contrast = bundled_contrast("introvert", questions=4)
    found = task.run(Respondent(extravert), dataclasses.replace(setting, contrast=contrast))
    assert means(found, "score:energy") == 1
    assert means(found, "score:decision") == 0
    assert means(found, "toward") == -1  # the target is the introvert
    assert means(found, "order") == means(found, "agreement") == 0
    assert found.notes["type"] == "Exxx"
    assert found.notes["scores"]["energy"] == 1
    assert found.notes["order-difference"] == 0
    assert found.notes["alpha"]["energy"] is None  # the same answer every time


def test_who_agrees_with_everything_has_no_type(setting):
    found = TASKS.get("big-five").run(Respondent(lambda text: 4), setting)
    assert found.notes["type"] == "x x x x x"
    assert set(found.notes["scores"].values()) == {0}
    assert found.notes["agreement"] == means(found, "agreement") == 1


def test_a_liking_for_a_letter_is_exposed(setting):
    likes_a = RuleSpeaker("a", lambda options: [float(o == "A") for o in options])
    found = TASKS.get("mbti").run(likes_a, setting)
    assert set(found.notes["scores"].values()) == {0}
    assert found.notes["order-difference"] == 2
    no_idea = RuleSpeaker("shortest", lambda options: [0.0] * len(options))
    found = TASKS.get("mbti").run(no_idea, setting)
    assert found.notes["order-difference"] == pytest.approx(0)
    assert found.notes["agreement"] == pytest.approx(0)


def test_a_model_can_be_asked(setting):
    speaker = ModelSpeaker(*tiny_model("llama", chat=True))
    small = dataclasses.replace(setting, questions=10)
    found = TASKS.get("mbti").run(speaker, small)
    assert len(found.outcomes) == 4 * 2
    assert len({o.question for o in found.outcomes}) == 8
    assert found.notes["administrations"] == 8
    assert all(-1 <= v <= 1 for v in found.notes["scores"].values())
    json.dumps(found.notes, allow_nan=False)
    again = TASKS.get("mbti").run(speaker, dataclasses.replace(small, seed=3))
    assert [o.values for o in again.outcomes] == [o.values for o in found.outcomes]


@pytest.mark.parametrize(("name", "questions", "items"), [
    ("mbti", 100, 10), ("mbti", 8, 2), ("big-five", 100, 8), ("big-five", 1, 2),
])  # fmt: skip
def test_the_notes_count_the_items_that_were_asked(setting, name, questions, items):
    asked = dataclasses.replace(setting, questions=questions)
    found = TASKS.get(name).run(Respondent(extravert), asked)
    assert set(found.notes["items"].values()) == {items}
    for scale, count in found.notes["items"].items():
        assert sum(f"score:{scale}" in o.values for o in found.outcomes) == count


def test_both_orders_of_a_prompt():
    item = load_questionnaire("mbti").scales[0].items[0]
    one, other = (worded(item, WORDINGS[0], backwards=b)[0].content.splitlines() for b in (0, 1))
    assert one[:2] == other[:2]
    assert one[2:7] == [f"({m}) {t}" for m, t in zip(LETTERS, LABELS, strict=True)]
    assert [line[4:] for line in other[2:7]] == list(LABELS[::-1])


def test_personas_that_are_no_pole_have_scores_only(setting):
    found = TASKS.get("mbti").run(Respondent(extravert), setting)  # the target is bold
    assert not any("toward" in o.values for o in found.outcomes)
    assert TASKS.get("mbti").refuses(setting, writes=False) is None
