"""The documented task of one's own runs."""

from pathlib import Path

import pytest

from prosopon.evaluation.tasks import TASKS
from prosopon.plugins import load_plugin

FILE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "own_task.py"


@pytest.fixture(scope="module")
def task():
    assert load_plugin(FILE) == {"task": ["greeting"]}
    yield TASKS.get("greeting")
    TASKS.remove("greeting")


def test_it_says_where_it_cannot_be_asked(task, setting):
    assert task.refuses(setting, writes=False) == "it needs free text"
    assert task.refuses(setting, writes=True) is None


def test_it_gives_one_outcome_a_greeting(task, speaker, setting):
    result = task.run(speaker, setting)
    questions = [outcome.question for outcome in result.outcomes]
    assert questions == ["Hello", "Good evening", "Nice to meet you"]
    assert result.questions == 3
    assert all(set(outcome.values) == set(task.measures) for outcome in result.outcomes)
    assert all(outcome.answer for outcome in result.outcomes)
