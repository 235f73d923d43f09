"""Neutral questions with checkable answers."""

import dataclasses

import pytest

from prosopon.data import load_bank
from prosopon.evaluation.speakers import ModelSpeaker
from prosopon.evaluation.tasks import TASKS
from tests.tiny import tiny_model

TASK = TASKS.get("facts")
ANSWERS = {item.question: item.answers for item in load_bank("checkable").items}


class Knows:
    """Writes the accepted answer to all questions but those that hold a word."""

    writes = True

    def __init__(self, unknown):
        self.unknown, self.temperatures = unknown, set()

    def write(self, prompts, *, temperature, max_new_tokens, seed=0):
        self.temperatures.add((temperature, max_new_tokens))
        questions = [prompt[0].content for prompt in prompts]
        return ["?" if self.unknown in q else f"It is {ANSWERS[q][-1]}." for q in questions]


def test_right_answers_are_counted(setting):
    whole = dataclasses.replace(setting, questions=1000, max_new_tokens=48)
    speaker = Knows("capital")
    outcomes = TASK.run(speaker, whole).outcomes
    assert {o.question: o.values["right"] for o in outcomes} == {
        question: float("capital" not in question) for question in ANSWERS
    }
    assert speaker.temperatures == {(0.0, 32)}
    assert outcomes[0].answer in {"?", f"It is {ANSWERS[outcomes[0].prompt][-1]}."}


def test_questions_are_drawn_with_the_seed(setting):
    few = dataclasses.replace(setting, questions=5)
    asked = [
        [o.question for o in TASK.run(Knows("x"), dataclasses.replace(few, seed=seed)).outcomes]
        for seed in (0, 0, 1)
    ]
    assert asked[0] == asked[1] != asked[2]
    assert len(set(asked[0])) == 5


def test_a_model_answers(setting):
    outcomes = TASK.run(ModelSpeaker(*tiny_model()), dataclasses.replace(setting, questions=3))
    assert [o.values["right"] in (0.0, 1.0) for o in outcomes.outcomes] == [True] * 3


@pytest.mark.parametrize(
    ("bundled", "writes", "reason"),
    [(True, True, "no knowledge"), (False, False, "cannot write"), (False, True, None)],
)
def test_who_is_asked(setting, bundled, writes, reason):
    contrast = dataclasses.replace(setting.contrast, bundled=bundled)
    refusal = TASK.refuses(dataclasses.replace(setting, contrast=contrast), writes=writes)
    assert refusal is None if reason is None else reason in refusal
