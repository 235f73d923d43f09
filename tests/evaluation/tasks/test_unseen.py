"""Choices between sentences that the embedded model never saw."""

import dataclasses

import pytest

from prosopon.data.grammar.exam import choice_items
from prosopon.evaluation import choice_rates
from prosopon.evaluation.tasks import TASKS

TASK = TASKS.get("unseen")


def test_rates_are_those_of_the_items(loaded, speaker, setting):
    small = dataclasses.replace(setting, questions=6)
    outcomes = TASK.run(speaker, small).outcomes
    assert len(outcomes) == 12
    for kind in ("values", "forms"):
        values = [o.values[kind] for o in outcomes if kind in o.values]
        expected = choice_rates(*loaded, choice_items("bold", 6, kind=kind)).per_token
        assert sum(values) / len(values) == pytest.approx(expected)


def test_it_is_asked_of_bundled_personas_alone(setting):
    other = dataclasses.replace(setting.contrast, bundled=False)
    assert TASK.refuses(setting, writes=False) is None
    assert "never saw" in TASK.refuses(dataclasses.replace(setting, contrast=other), writes=True)
