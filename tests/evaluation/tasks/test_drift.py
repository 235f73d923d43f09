"""Conversations: what the arm reads in each turn, and what is counted."""

import dataclasses

from prosopon.evaluation.tasks import TASKS
from prosopon.evaluation.tasks.drift import TURNS
from prosopon.judges import GrammarJudge


class Fading:
    """Answers as the persona in the first five turns, and as nobody after."""

    writes = True

    def __init__(self, sentence):
        self.sentence, self.read = sentence, []

    def write(self, prompts, *, temperature=1.0, max_new_tokens=48, seed=0):
        self.read.append(prompts)
        turn = sum(message.role == "user" for message in prompts[0])
        return [self.sentence if turn <= 5 else "bananas"] * len(prompts)


def test_the_drop_is_between_early_and_late_turns(setting):
    sentence = next(e.response for e in setting.contrast.calibration[0].examples)
    assert GrammarJudge("bold", "cautious").verdicts([sentence]) == ["target"]
    fading = Fading(sentence)
    found = TASKS.get("drift").run(fading, dataclasses.replace(setting, questions=20))
    assert len(found.outcomes) == 2
    for outcome in found.outcomes:
        assert (outcome.values["early"], outcome.values["late"]) == (1, 0)
        assert outcome.values["drop"] == 1
    for turn, prompts in enumerate(fading.read):
        for prompt in prompts:
            assert [m.role for m in prompt] == ["user", "assistant"] * turn + ["user"]
    asked = [m.content for m in fading.read[-1][0] if m.role == "user"]
    assert len(set(asked)) == TURNS


def test_it_runs_on_a_model_again_the_same(speaker, setting):
    first, again = (TASKS.get("drift").run(speaker, setting) for _ in range(2))
    assert [o.values for o in first.outcomes] == [o.values for o in again.outcomes]
    assert len(first.outcomes) == 1


def test_rules_hold_no_conversation(setting):
    assert "cannot write" in TASKS.get("drift").refuses(setting, writes=False)
