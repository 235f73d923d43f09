"""What a runner does with each cell, on rules and a tiny model."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prosopon.arms import ARMS
from prosopon.arms.rules import RuleArm, shortest
from prosopon.data.contrast import bundled_contrast
from prosopon.errors import ModelError, OptionError
from prosopon.evaluation.speakers import ModelSpeaker, RuleSpeaker
from prosopon.evaluation.tasks import TASKS, Outcome, Setting, TaskResult
from prosopon.experiments import Memory, Plan, Runner, Sizes, ask
from prosopon.experiments.runner import STAGE, calibration_room, plugin_files
from prosopon.lm import sample_general
from tests.tiny import tiny_model

SMALL = Sizes(questions=3, max_new_tokens=2, general=2, speed=0)
RULES = ("shortest", "always-a")


@pytest.fixture(scope="module")
def contrasts():
    return {name: bundled_contrast(name, questions=4) for name in ("bold", "cautious")}


@pytest.fixture
def start(contrasts):
    """Return ``start(**changes)``: a runner of rules, which need no model at all."""

    def start(store=None, *, general=list, retry=False, report=None, **changes):
        settings = {
            "contrasts": ("bold",), "arms": RULES, "tasks": ("choice", "a-b"), "sizes": SMALL,
            "controls": False,
        }  # fmt: skip
        plan = Plan(**settings | changes)
        return Runner(
            plan, contrasts, {}, general, NoModel, store or Memory({}), retry=retry, report=report
        )

    return start


class NoModel:
    """Stands where an extractor would, for arms that never ask for one."""

    def __init__(self, seed):
        self.seed = seed


def test_every_cell_has_a_record_of_every_task(start):
    records = list(start(contrasts=("bold", "cautious"), seeds=(0, 1)).run())
    assert [(r.cell.seed, r.cell.contrast, r.cell.arm) for r in records] == [
        (seed, contrast, arm) for seed in (0, 1) for contrast in ("bold", "cautious")
        for arm in RULES
    ]  # fmt: skip
    for record in records:
        assert (record.status, record.kind, record.label) == ("done", "control", record.cell.arm)
        assert set(record.results) == {"choice", "a-b"}
        assert record.results["choice"].questions == 3


def test_general_text_is_written_only_where_a_task_may_read_it(start, monkeypatch):
    calls = []
    own = type("Own", (), {"name": "own", "refuses": lambda *_, **__: "not here"})()
    monkeypatch.setitem(TASKS._items, "own", own)
    for tasks, count in {("choice", "a-b"): 0, ("choice", "perplexity"): 1, ("own",): 1}.items():
        list(start(general=lambda: calls.append(1) or [], tasks=tasks, arms=("shortest",)).run())
        assert len(calls) == count, tasks
        calls.clear()


def test_what_is_done_is_not_done_again(start, monkeypatch):
    store = Memory({})
    first = list(start(store).run())
    monkeypatch.setattr(RuleArm, "prepare", lambda *_: pytest.fail("ran again"))
    assert list(start(store).run()) == first
    with pytest.raises(pytest.fail.Exception, match="ran again"):
        list(start(store, seeds=(1,)).run())


def test_a_failure_is_kept_until_it_is_asked_for_again(start, monkeypatch):
    store, whole = Memory({}), RuleArm.prepare

    def fail(self, lab):
        raise OptionError("no\n  luck")

    monkeypatch.setattr(RuleArm, "prepare", fail)
    failed = list(start(store).run())
    assert {(r.status, r.message) for r in failed} == {("failed", "no luck")}
    monkeypatch.setattr(RuleArm, "prepare", whole)
    assert list(start(store).run()) == failed
    assert {r.status for r in start(store, retry=True).run()} == {"done"}


def test_a_refusal_is_no_failure_and_nothing_is_prepared(start, monkeypatch):
    monkeypatch.setattr(RuleArm, "refuses", lambda self, lab: "not here")
    monkeypatch.setattr(RuleArm, "prepare", lambda *_: pytest.fail("prepared"))
    for record in start().run():
        assert (record.status, record.message, record.results) == ("refused", "not here", {})


def test_a_fault_of_ours_is_not_taken_for_a_failed_arm(start, monkeypatch):
    def fail(self, lab):
        raise ZeroDivisionError

    monkeypatch.setattr(RuleArm, "prepare", fail)
    with pytest.raises(ZeroDivisionError):
        list(start().run())


def test_steps_are_reported_from_none_to_all(start):
    steps = []
    list(start(report=lambda *step: steps.append(step)).run())
    assert [step[1:] for step in steps if step[0] == STAGE] == [(0, 2), (1, 2), (2, 2)]
    names = {step[0] for step in steps if step[0] != STAGE}
    assert len(names) == 2  # one line of its own for every cell
    assert all(", seed 0" in name for name in names)


def test_rules_wear_no_masks(start):
    runner = start()
    list(runner.run())
    assert runner.masks("shortest") == {}


def test_an_extractor_is_made_once_a_seed(start):
    runner = start()
    assert runner.extractor(3) is runner.extractor(3)
    assert runner.extractor(4).seed == 4
    assert runner.extractor(3) is not runner.extractor(4)


def test_keys_are_apart_for_whatever_is_apart(start):
    runners = [
        start(), start(sizes=dataclasses.replace(SMALL, questions=2)), start(tasks=("choice",)),
        start(Memory({"dtype": "float16"})),
    ]  # fmt: skip
    keys = [runner.key(cell) for runner in runners for cell in runner.cells()]
    assert len(set(keys)) == len(keys) == 8
    assert [start().key(cell) for cell in start().cells()] == keys[:2]


def test_room_is_that_of_the_shorter_side(contrasts):
    contrast = contrasts["bold"]
    target, opposite = contrast.calibration
    short = dataclasses.replace(opposite, examples=opposite.examples[:5])
    assert calibration_room(dataclasses.replace(contrast, calibration=(target, short))) == 5
    assert calibration_room(dataclasses.replace(contrast, calibration=(short, target))) == 5


def test_tasks_that_cannot_be_asked_say_why(contrasts):
    results, refused = ask(
        RuleSpeaker("x", shortest), Setting(contrasts["bold"]), ("choice", "free-text"), SMALL
    )
    assert set(results) == {"choice"}
    assert refused == {"free-text": "a rule chooses between options and cannot write"}


@pytest.mark.parametrize("general", [0, 2])
def test_a_model_that_computes_nan_is_found_before_it_is_asked(contrasts, general):
    model, tokenizer = tiny_model("llama", chat=True)
    texts = sample_general(model, tokenizer, count=general, length=12) if general else []
    setting, speaker = Setting(contrasts["bold"], general=texts), ModelSpeaker(model, tokenizer)
    results, _ = ask(speaker, setting, ("choice",), SMALL)
    assert results["choice"]().questions == 3
    model.get_output_embeddings().weight.data.fill_(math.nan)
    with pytest.raises(ModelError, match="computes NaN or infinity under this arm"):
        ask(speaker, setting, ("choice",), SMALL)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_measure_that_is_no_number_names_its_question(contrasts, monkeypatch, value):
    class Odd:
        name, summary, measures = "choice", "odd", {"hit": "a hit"}
        refuses = staticmethod(lambda setting, *, writes: None)
        run = staticmethod(lambda speaker, setting: TaskResult([Outcome("q7", {"hit": value})]))

    monkeypatch.setitem(TASKS._items, "choice", Odd())
    with pytest.raises(ModelError, match=r"task 'choice': hit of question 'q7' is "):
        ask(RuleSpeaker("x", shortest), Setting(contrasts["bold"]), ("choice",), SMALL)


def test_what_prosopon_brings_itself_is_no_plugin(tmp_path):
    assert plugin_files(ARMS.get("wanda"), TASKS.get("choice")) == []
    (name,) = plugin_files(NoModel(0))
    assert len(name) == 64
    assert plugin_files(NoModel(0), NoModel(1)) == [name]


@given(st.dictionaries(st.text(), st.floats(allow_nan=False) | st.text() | st.none(), max_size=3))
def test_whatever_an_arm_says_of_its_cost_can_be_kept(details):
    from prosopon.experiments.runner import _plain

    plain = _plain({"details": details, "odd": {1: (math.nan, math.inf, object)}})
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["odd"]["1"][:2] == ["nan", "inf"]
    for name, value in details.items():
        if not isinstance(value, float) or math.isfinite(value):
            assert plain["details"][name] == value
