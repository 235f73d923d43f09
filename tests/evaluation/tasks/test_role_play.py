"""Role-play: speakers whose behaviour is known get the figures that they deserve."""

import dataclasses

import pytest

from prosopon.data import load_contrast
from prosopon.data.characters import load_character
from prosopon.data.contrast import file_contrast
from prosopon.errors import DataError
from prosopon.evaluation.speakers import RuleSpeaker
from prosopon.evaluation.speaking import NORMALISATIONS, OptionScores
from prosopon.evaluation.tasks import TASKS, Setting
from prosopon.evaluation.tasks.role_play import RolePlayTask, facts_named, questions_to
from prosopon.judges import ClassifierJudge

TASK = TASKS.get("role-play")
FERRY = load_character("ferrywoman")


@pytest.fixture(scope="module")
def role():
    contrast = file_contrast(*load_contrast("character:ferrywoman"))
    return Setting(contrast, [ClassifierJudge.fit(*contrast.judge_texts())], questions=16)


class Actor:
    """Answers every question with ``tell`` of it, and prefers the lines of a character."""

    writes = True

    def __init__(self, tell, character=FERRY):
        self.tell, self.lines = tell, {said for _, said in character.lines}

    def score(self, questions):
        marks = [tuple(float(o in self.lines) for o in q.options) for q in questions]
        return [OptionScores(dict.fromkeys(NORMALISATIONS, each)) for each in marks]

    def write(self, prompts, *, temperature=1.0, max_new_tokens=48, seed=0):
        return [self.tell(prompt[-1].content) for prompt in prompts]


def mean(result, measure):
    values = [o.values[measure] for o in result.outcomes if measure in o.values]
    return sum(values) / len(values)


def test_who_knows_the_sheet_and_stays(role):
    found = TASK.run(Actor(lambda asked: " ".join(FERRY.sheet)), role)
    assert mean(found, "self-knowledge") == 1
    assert mean(found, "stays") == mean(found, "stays:leave") == 1
    assert mean(found, "reaction") == mean(found, "reaction:calibrated") == 1
    assert found.notes["reactions"] == len(role.contrast.items()) == 10
    assert found.notes["character"] == "Marit Olo"


def test_an_assistant_leaves_and_knows_nothing(role):
    told = "As an AI language model I cannot row."
    found = TASK.run(Actor(lambda asked: told, load_character("innkeeper")), role)
    assert mean(found, "self-knowledge") == 0
    assert mean(found, "stays") == 0
    assert mean(found, "reaction") == 0
    verdict = role.judges[0].verdicts([told])[0]
    assert mean(found, "in-character") == float(verdict == "target")


def test_silence_has_not_stayed_and_is_nobody(role):
    found = TASK.run(Actor(lambda asked: " "), role)
    assert mean(found, "stays") == mean(found, "in-character") == 0
    assert mean(found, "empty") == 1


def test_voices_are_told_apart(role):
    lines = [said for _, said in FERRY.lines]
    other = [said for _, said in load_character("innkeeper").lines]
    shares = [
        mean(TASK.run(Actor(lambda asked, t=texts: t[len(asked) % len(t)]), role), "in-character")
        for texts in (lines, other)
    ]
    assert shares[0] > 0.7 > 0.3 > shares[1]


def test_a_few_questions_are_of_every_kind_and_many_come_again(role):
    few = TASK.run(Actor(lambda asked: "Yes."), dataclasses.replace(role, questions=3))
    assert {n for o in few.outcomes for n in o.values} >= {
        "self-knowledge", "stays:general", "stays:leave", "in-character:self-knowledge",
    }  # fmt: skip
    many = TASK.run(Actor(lambda asked: "Yes."), dataclasses.replace(role, questions=32))
    asked = [o for o in many.outcomes if "stays" in o.values]
    assert len(asked) == 32
    assert len({o.question for o in asked}) == len(list(questions_to(FERRY))) == 16


def test_facts_are_whole_words_in_any_case():
    expect = (("teal",), ("blue goose", "inn"))
    assert facts_named("The TEAL and the Blue Goose.", expect) == 1
    assert facts_named("Steal the dinner", expect) == 0
    assert facts_named("Teal", expect) == 0.5


def test_rules_are_asked_for_reactions_only(role):
    shortest = RuleSpeaker("shortest", lambda options: [-len(o) for o in options])
    assert TASK.refuses(role, writes=False) is None
    found = TASK.run(shortest, role)
    assert len(found.outcomes) == 10
    assert all(set(o.values) == {"reaction", "reaction:calibrated"} for o in found.outcomes)


def test_without_a_judge_only_its_verdict_is_left_out(role):
    bare = dataclasses.replace(role, judges=())
    assert TASK.refuses(bare, writes=True) is None
    actor = Actor(lambda asked: " ".join(FERRY.sheet))
    found, judged = TASK.run(actor, bare), TASK.run(actor, role)
    assert found.notes["judge"] is None
    assert found.notes["left-out"].startswith("in-character: no judge")
    assert "left-out" not in judged.notes
    for one, other in zip(found.outcomes, judged.outcomes, strict=True):
        kept = {n: v for n, v in other.values.items() if not n.startswith("in-character")}
        assert one.values == kept
    assert mean(found, "self-knowledge") == mean(found, "stays") == mean(found, "reaction") == 1


def test_refusals(setting, role):
    assert "'bold' is no character; characters: clockmaker" in TASK.refuses(setting, writes=True)
    with pytest.raises(DataError, match="'bold' is no character"):
        TASK.run(Actor(lambda asked: ""), setting)
    alone = RolePlayTask({"ferrywoman": FERRY})
    rule = RuleSpeaker("shortest", lambda options: [-len(o) for o in options])
    with pytest.raises(DataError, match="no test question"):
        alone.run(rule, role)


def test_a_real_model_is_asked(speaker, role):
    found = TASK.run(speaker, role)
    assert len(found.outcomes) == 26
    assert all(0 <= o.values.get("in-character", 0) <= 1 for o in found.outcomes)
    assert [o.answer for o in TASK.run(speaker, role).outcomes] == [
        o.answer for o in found.outcomes
    ]
