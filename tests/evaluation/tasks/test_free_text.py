"""Free text: judged when the arm is gone, read by the base, with signs beside the verdicts."""

import dataclasses

import pytest

from prosopon.data import Message
from prosopon.evaluation.tasks import TASKS, JudgedTask, Outcome
from prosopon.evaluation.tasks.free_text import judge_texts, kappas, open_prompts, verdicts_of
from prosopon.judges import SIGNS, BaseReader, Recital, count_signs, judges_of
from prosopon.lm.answers import score_answers

TASK = TASKS.get("free-text")


@pytest.fixture(scope="module")
def read(loaded, setting):
    """The setting with the base as reader, on five of its questions."""
    contrast = setting.contrast
    exchanges = [(e.prompt, e.response) for side in contrast.judge for e in side.examples[:8]]
    reader = BaseReader(*loaded, exchanges=exchanges, max_new_tokens=24)
    prompts = open_prompts(setting)[:5]
    reader.expect([prompt for _, prompt in prompts])
    judges = judges_of(contrast, reader=reader)
    return dataclasses.replace(
        setting, judges=judges, reader=reader, open_prompts=prompts, questions=7
    )


class Parrot:
    """Says one thing, or a list of things in turn."""

    writes = True

    def __init__(self, *texts):
        self.texts = texts

    def write(self, prompts, **_):
        return [self.texts[i % len(self.texts)] for i in range(len(prompts))]


@pytest.mark.parametrize("name", ["free-text", "drift", "role-play"])
def test_tasks_with_judges_are_judged_later_and_others_at_once(name):
    assert isinstance(TASKS.get(name), JudgedTask)
    assert not isinstance(TASKS.get("choice"), JudgedTask)
    assert not isinstance(TASKS.get("neutral"), JudgedTask)


def test_run_is_ask_then_judge_and_nothing_is_judged_while_the_arm_speaks(speaker, read):
    unjudged = TASK.ask(speaker, dataclasses.replace(read, judges=()))
    assert {name for o in unjudged for name in o.values} == {
        "repetition", "words", "empty", "recital", *SIGNS,
    }  # fmt: skip
    later = TASK.judge(unjudged, read)
    assert later == TASK.run(speaker, read)


def test_questions_come_again_where_more_are_wanted(speaker, read):
    outcomes = TASK.run(speaker, read).outcomes
    ids = [question for question, _ in read.open_prompts]
    assert [o.question for o in outcomes] == [*ids, *ids[:2]]


def test_signs_and_the_bases_view_stand_beside_the_verdicts(loaded, speaker, read):
    result = TASK.run(speaker, read)
    recital = Recital(read.learned_texts())
    for outcome in result.outcomes:
        values, own = outcome.values, count_signs(outcome.answer)
        assert {name: values[name] for name in SIGNS} == own
        asked = (Message("user", outcome.prompt),)
        (score,) = score_answers(*loaded, [(asked, outcome.answer)])
        assert values["base-nats"] == pytest.approx(-score.total, rel=1e-5)
        assert values["base-tokens"] == score.tokens
        base = read.reader.answers[outcome.prompt]
        assert values["base-recital"] == float(recital.recites(base))


def test_rubbish_is_neithers_by_every_judge_and_has_no_perplexity_where_it_is_blank(read):
    rubbish = "", "qzx vv kkkp wpf", "leap", "risk of a the dare cliff would jump I to for and"
    result = TASK.run(Parrot(*rubbish), read)
    for outcome in result.outcomes:
        assert outcome.values["neither"] == outcome.values["neither:classifier"] == 1
        assert ("base-nats" in outcome.values) == bool(outcome.answer)


def test_two_judges_agreement_is_in_the_notes(speaker, read):
    result = TASK.run(speaker, read)
    assert result.notes["kappa"].keys() == {"classifier"}
    assert result.notes["kappa"] == kappas(result.outcomes)
    one = dataclasses.replace(read, judges=read.judges[:1])
    assert "kappa" not in TASK.run(speaker, one).notes


def test_verdicts_are_read_back_from_the_measures(read):
    texts = [read.contrast.test[side].examples[0].response for side in (0, 1)] + [""]
    values = judge_texts(read.judges, texts)
    outcomes = [Outcome(str(i), value) for i, value in enumerate(values)]
    assert verdicts_of(outcomes) == ["target", "opposite", "neither"]
    assert verdicts_of(outcomes, "classifier") == read.judges[1].verdicts(texts)
    assert verdicts_of(outcomes, "nobody") == ["neither"] * 3


def test_nothing_is_asked_where_no_question_can_tell(speaker, setting):
    none = dataclasses.replace(setting, open_prompts=[])
    assert "none of 12 held-out questions can tell" in TASK.refuses(none, writes=True)
    assert TASK.refuses(setting, writes=True) is None


@pytest.mark.parametrize(("asked", "sampled"), [(1.0, 0.7), (0.3, 0.3)])
def test_cool_text_is_sampled_at_most_at_0_7(read, asked, sampled):
    heard = []

    class Listener(Parrot):
        def write(self, prompts, *, temperature, **_):
            heard.append(temperature)
            return super().write(prompts)

    setting = dataclasses.replace(read, temperature=asked)
    for name in ("free-text", "free-text-cool"):
        assert TASKS.get(name).run(Listener("a b c"), setting).outcomes
    assert heard == [asked, sampled]
