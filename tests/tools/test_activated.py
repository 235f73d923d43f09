"""The tool that measures personas for the answer alone: its conversation reads what it says."""

import json

import pytest

from prosopon.models import load_model
from prosopon.runtime import PersonaModel
from tests.serving import samples
from tools import activated


@pytest.fixture(scope="module")
def wearer():
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    with PersonaModel(model, tokenizer) as attached:
        for seed, name in enumerate(("bold", "cautious")):
            attached.load_persona(samples.mask(model, name, seed, share=0.01))
        yield attached


def test_caches_change_what_is_read_and_not_what_is_said(wearer):
    names = ["bold", "cautious"]
    talks = {way: activated.take_turns(wearer, names, way, 4, 2) for way in activated.WAYS}
    whole, own, shared = (talks[way][0] for way in activated.WAYS)
    assert talks["own caches"][1] == talks["whole"][1]
    assert all(turn.read == turn.prompt for turn in whole)
    assert own[1].read == own[1].prompt  # a persona that speaks for the first time
    assert own[3].read < own[3].prompt
    assert shared[0].read == shared[0].prompt
    assert all(turn.read < turn.prompt / 2 for turn in shared[2:])
    assert len(talks["answer"][1]) == 4


def test_one_shared_cache_says_what_is_said_without_one(wearer):
    _, answers = activated.take_turns(wearer, ["bold", "cautious"], "answer", 3, 2)
    talk = []
    for number, name in enumerate(("bold", "cautious", "bold")):
        talk.append(activated.free_prompts(name, 3)[number][-1])
        draw = {"temperature": 0, "max_new_tokens": 2}
        answer = wearer.chat(talk, persona=name, activate="answer", **draw)
        assert answer == answers[number]
        talk.append(activated.Message("assistant", answer))


def test_effects_are_counted_for_the_base_and_both_ways(wearer):
    result = activated.measure_effect(wearer, "bold", 1, 2)
    assert set(result) == {"base", "prompt", "answer"}
    for own in result.values():
        assert own["target"] + own["opposite"] + own["neither"] == pytest.approx(1)
    assert len({own["margin"] for own in result.values()}) == 3
    json.dumps(result)


def test_a_conversation_in_figures():
    turns = [activated.Turn(10, 10, 4.0), activated.Turn(30, 10, 2.0)]
    figures = activated.summarise(turns)
    assert (figures["prompt_tokens"], figures["read_tokens"], figures["hit_rate"]) == (40, 20, 0.5)
    assert figures["median_seconds"] == figures["last_seconds"] == 3.0
