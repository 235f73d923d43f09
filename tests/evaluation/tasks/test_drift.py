"""Dialogues of ten turns: what is asked when, what is read, and what is counted."""

import dataclasses
import json

import pytest

from prosopon.arms.turns import with_system
from prosopon.data import Example, Message, Persona
from prosopon.data.contrast import file_contrast
from prosopon.errors import DataError
from prosopon.evaluation.speakers import ModelSpeaker, RuleSpeaker, prompt_length
from prosopon.evaluation.tasks import TASKS, Setting
from prosopon.evaluation.tasks.drift import EDGE, NEUTRAL, TURNS, begin_dialogues, topics, within
from prosopon.judges import GrammarJudge

TASK = TASKS.get("drift")
BOLD = "You will see me go with a shout, because boldness is the best part of living."


class Tiring:
    """Is bold as long as it has answered fewer than ``turns`` times, and keeps what it reads."""

    writes = True

    def __init__(self, turns):
        self.turns, self.read = turns, []

    def write(self, prompts, *, temperature=1.0, max_new_tokens=48, seed=0):
        self.read.append(prompts)
        said = [sum(m.role == "assistant" for m in prompt) for prompt in prompts]
        return [BOLD if count < self.turns else "" for count in said]


def means(result, measure):
    return sum(o.values[measure] for o in result.outcomes) / len(result.outcomes)


@pytest.mark.parametrize(
    ("turns", "early", "late"), [(10, 1, 1), (3, 1, 0), (9, 1, 2 / 3), (1, 1 / 3, 0)]
)
def test_the_ends_are_what_is_counted(setting, turns, early, late):
    assert GrammarJudge("bold", "cautious").verdicts([BOLD]) == ["target"]
    found = TASK.run(Tiring(turns), setting)
    assert means(found, "early") == pytest.approx(early)
    assert means(found, "late") == pytest.approx(late)
    assert means(found, "drop") == pytest.approx(early - late)
    assert means(found, "early-neither") == pytest.approx(1 - early)
    assert means(found, "late-neither") == pytest.approx(1 - late)
    assert means(found, "empty") == pytest.approx(1 - turns / TURNS)
    assert "late:classifier" in found.outcomes[0].values


def test_the_history_grows_and_is_the_arm_s_own(setting):
    speaker = Tiring(10)
    TASK.run(speaker, setting)
    assert len(speaker.read) == TURNS
    for turn, prompts in enumerate(speaker.read):
        for prompt in prompts:
            assert [m.role for m in prompt] == ["user", "assistant"] * turn + ["user"]
            assert all(m.content == BOLD for m in prompt if m.role == "assistant")


def test_twins_exchange_their_ends(setting):
    dialogues = begin_dialogues(dataclasses.replace(setting, questions=30))
    assert len(dialogues) == 6
    known = set(topics(setting))
    for one, other in zip(dialogues[::2], dialogues[1::2], strict=True):
        assert one.pair == other.pair
        assert one.questions[:EDGE] == other.questions[-EDGE:]
        assert one.questions[-EDGE:] == other.questions[:EDGE]
        assert one.questions[EDGE:-EDGE] == other.questions[EDGE:-EDGE]
        assert not known & set(one.questions[EDGE:-EDGE])
        assert {*one.questions[:EDGE], *one.questions[-EDGE:]} <= known
    again = begin_dialogues(dataclasses.replace(setting, questions=30))
    assert [d.questions for d in again] == [d.questions for d in dialogues]


def test_a_context_that_is_too_short_loses_the_oldest_turns_only(loaded):
    said = [Message("user", f"Question {i}?") if i % 2 == 0 else Message("assistant", "Yes " * 20)
            for i in range(9)]  # fmt: skip
    for line in ("", "Be bold."):
        rewrite = (lambda prompt, line=line: with_system(prompt, line)) if line else None
        speaker = ModelSpeaker(*loaded, rewrite, max_length=120)
        kept, dropped = within(speaker, tuple(said), 20)
        assert kept == tuple(said[2 * dropped :])
        assert 0 < dropped < 4
        assert prompt_length(speaker.rewritten(kept), speaker.tokenizer) <= 100
        before = tuple(said[2 * dropped - 2 :])
        assert prompt_length(speaker.rewritten(before), speaker.tokenizer) > 100
    everything = ModelSpeaker(*loaded)
    assert within(everything, tuple(said), 20) == (tuple(said), 0)
    tight = ModelSpeaker(*loaded, max_length=22)
    assert within(tight, tuple(said), 20) == (tuple(said[-1:]), 4)


def test_the_embedded_model_drifts_within_its_context(loaded, setting):
    speaker = ModelSpeaker(*loaded, max_length=160)
    found = TASK.run(speaker, setting)
    assert len(found.outcomes) == found.notes["dialogues"] == 2
    assert {o.question for o in found.outcomes} == {"dialogue-0"}
    assert found.notes["earlier-turns-read-at-the-end"]["least"] < TURNS - 1
    assert found.outcomes[0].prompt.count("user: ") == TURNS
    json.dumps(found.notes)
    assert [o.answer for o in TASK.run(speaker, setting).outcomes] == [
        o.answer for o in found.outcomes
    ]


def test_refusals(setting):
    rule = RuleSpeaker("shortest", lambda options: [-len(o) for o in options])
    assert "cannot write" in TASK.refuses(setting, writes=rule.writes)
    assert "no judge" in TASK.refuses(dataclasses.replace(setting, judges=()), writes=True)

    def side(name):
        texts = [f"Tom saw ball {i}. {name}." for i in range(40)]
        return Persona(name, tuple(Example((Message("assistant", t),)) for t in texts))

    plain = Setting(file_contrast(side("glad"), side("sad"), questions=6, judge=6), setting.judges)
    assert "plain text" in TASK.refuses(plain, writes=True)
    with pytest.raises(DataError, match="plain text"):
        TASK.run(Tiring(1), plain)


def test_other_data_gets_neutral_turns_of_our_own(setting):
    def side(name, told):
        rows = [(Message("user", f"Question {i}?"), Message("assistant", told)) for i in range(40)]
        return Persona(name, tuple(map(Example, rows)))

    contrast = file_contrast(side("glad", "Hooray!"), side("sad", "Oh no."), questions=6, judge=6)
    asked = begin_dialogues(Setting(contrast, setting.judges))[0].questions
    assert set(asked[EDGE:-EDGE]) <= set(NEUTRAL)
    assert len(set(asked)) == TURNS
