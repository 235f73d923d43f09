"""What arms share: clocks, counters, speakers without a way back, arms of another registry."""

import time

import pytest

from prosopon.arms.base import ArmRegistry, Cost, Lab
from prosopon.arms.options import OptionHelp, option_help
from prosopon.arms.prompt import BaseArm
from prosopon.arms.ready import Clock, Ready, always, counter, speaker_of
from prosopon.data import Message
from prosopon.errors import UnknownNameError
from prosopon.registry import Registry
from tests.arms.samples import PROMPTS, tiny_lab


def test_a_clock_goes_forward():
    clock = Clock()
    first = clock.seconds()
    time.sleep(0.01)
    assert 0 <= first < clock.seconds() < 60


def test_an_arm_speaks_as_often_as_it_is_asked():
    speaker = object()
    ready = Ready(Cost(1.5, 10, {"a": 1}), always(speaker))
    for _ in range(2):
        with ready.speaking() as voice:
            assert voice is speaker
    assert (ready.cost.seconds, ready.cost.bytes, ready.cost.details) == (1.5, 10, {"a": 1})
    assert Cost() == Cost(0.0, 0, {})


def test_steps_are_told_where_somebody_listens():
    lab = tiny_lab()
    counter(lab, "silent", 3)(1)
    steps = []
    lab.extractor.report = lambda *step: steps.append(step)
    say = counter(lab, "training", 3)
    for done in (1, 3):
        say(done)
    assert steps == [("training", 1, 3), ("training", 3, 3)]


def test_a_speaker_has_the_lab_s_model_and_limits():
    lab = tiny_lab()
    rewritten = speaker_of(lab, lambda prompt: (Message("system", "Be."), *prompt))
    assert (rewritten.model, rewritten.tokenizer) == (lab.model, lab.tokenizer)
    assert (rewritten.max_tokens, rewritten.max_length) == (
        lab.extractor.max_tokens,
        lab.extractor.max_length,
    )
    assert rewritten.rewritten(PROMPTS[0])[0] == Message("system", "Be.")
    assert speaker_of(lab).rewritten(PROMPTS[0]) == PROMPTS[0]
    plain, more = (speaker.added_tokens(PROMPTS) for speaker in (speaker_of(lab), rewritten))
    assert plain == [0, 0]
    assert all(count > 0 for count in more)


class Named(BaseArm):
    """An arm of any name."""

    def __init__(self, name):
        self.name = name


def test_arms_follow_another_registry():
    source, arms = Registry("thing"), ArmRegistry()
    arms.follow(source.names, Named)
    assert (len(arms), arms.names()) == (0, [])
    source.add("later", 1)
    assert arms.names() == ["later"]
    assert "later" in arms
    assert arms.get("later") is arms.get("Later")
    assert [name for name, _ in arms.items()] == ["later"]
    with pytest.raises(UnknownNameError, match="later"):
        arms.get("never")


def test_options_have_a_default_and_a_word():
    from prosopon.arms import ARMS

    known = {option.name: option for option in option_help(ARMS.get("few-shot"))}
    assert known["shots"] == OptionHelp("shots", 3, "examples before every prompt")
    assert option_help(ARMS.get("base")) == []
    for name, arm in ARMS.items():
        assert all(option.help for option in option_help(arm)), name


def test_a_lab_shows_the_extractor_s_model():
    lab = tiny_lab(examples=3, seed=2, options={"a": "b"})
    assert isinstance(lab, Lab)
    assert lab.model is lab.extractor.model
    assert lab.tokenizer is lab.extractor.tokenizer
    assert (lab.examples, lab.seed, lab.options) == (3, 2, {"a": "b"})
