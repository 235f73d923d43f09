"""Voices that are worn for the answer alone: as PersonaModel writes them, alone and in a crowd."""

from __future__ import annotations

import asyncio

import openai
import pytest
import torch
from transformers.cache_utils import DynamicCache

from prosopon.errors import PersonaError
from prosopon.serving import sampling
from prosopon.serving.batch import RowBatch
from prosopon.serving.schemas import ChatBody
from prosopon.serving.service import Service
from prosopon.serving.voice import Voice
from prosopon.serving.work import Work
from tests.runtime import samples as weights
from tests.serving import samples
from tests.serving.samples import HTTP, row, written

VOICES = [
    Voice("bold", activate="answer"),
    Voice(),
    Voice("calm", 0.5, activate="answer"),
    Voice("bold"),
    Voice(blend=(("bold", 0.5), ("calm", 1.0)), activate="answer"),
    Voice("heavy", activate="answer"),
]
GREEDY = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}


def crowd(**settings):
    """Return greedy rows of all voices, of different length."""
    return [
        row(voice, samples.PROMPTS[n % 4], temperature=0.0, max_tokens=3 + n % 3, **settings)[0]
        for n, voice in enumerate(VOICES)
    ]


@pytest.fixture(scope="module")
def expected():
    """Return what PersonaModel writes, one prompt after another."""
    attached, texts = samples.wearer(personas=("bold", "calm", "heavy")), []
    for one in crowd():
        ids = torch.tensor([one.prompt])
        new = attached.generate(
            ids, personas=[one.voice.wearable()], activate=one.voice.activate, **GREEDY
        )[0, ids.shape[1] :].tolist()
        end = attached.tokenizer.eos_token_id
        texts.append(tuple(new[: new.index(end)] if end in new else new))
    return texts


def check(rows, expected):
    for one, text in zip(rows, expected, strict=True):
        assert tuple(one.written) == text[: one.settings.max_tokens]


def test_alone_and_in_a_crowd_they_write_what_the_persona_model_writes(attached, expected):
    base = weights.weights(attached.model)
    rows = crowd()
    RowBatch(attached, rows).run(lambda: weights.assert_bits(attached.model, base))
    check(rows, expected)
    for number, one in enumerate(crowd()):
        RowBatch(attached, [one], crowded=False).run()
        check([one], expected[number : number + 1])
    assert len(set(expected)) == len(VOICES)


def test_rows_that_are_read_again_alone_begin_at_the_same_token(attached, expected, monkeypatch):
    monkeypatch.setattr(sampling, "ROUNDING", 1e12)
    rows = crowd()
    batch = RowBatch(attached, rows)
    batch.run()
    assert batch.redrawn > 12
    check(rows, expected)


def test_rows_that_are_read_again_together_do_too(attached, expected, monkeypatch):
    """Some families have caches of their own, which rows cannot leave."""

    def refuse(self, indices):
        raise AttributeError

    monkeypatch.setattr(DynamicCache, "batch_select_indices", refuse)
    rows = crowd()
    RowBatch(attached, rows).run()
    check(rows, expected)


def test_a_voice_for_the_answer_is_another_voice(attached):
    whole = [row(Voice("bold"), (1, 70), temperature=0.0)[0] for _ in range(2)]
    for one in whole:
        RowBatch(attached, [one], crowded=False).run()
    answer = row(Voice("bold", activate="answer"), (1, 70), temperature=0.0)[0]
    RowBatch(attached, [answer], crowded=False).run()
    assert written(whole)[0] != written([answer])[0]


def test_what_cannot_be_taken_off_is_refused(attached):
    attached.wardrobe.compensated.add("bold")
    with pytest.raises(PersonaError):
        Voice("bold", activate="answer").outfit(attached.wardrobe)
    Voice("bold").outfit(attached.wardrobe)
    assert not Voice(activate="answer").is_activated


def test_requests_say_it_and_the_base_does_not_mind(client, live, attached):
    hello = {"messages": [{"role": "user", "content": "Hi there"}], "temperature": 0}
    body = {"activate": "answer"}

    def ask(model, **extra):
        reply = client.chat.completions.create(model=model, max_tokens=8, extra_body=extra, **hello)
        return reply.choices[0].message.content

    turns = [{"role": "user", "content": "Hi there"}]
    draw = {"temperature": 0, "max_new_tokens": 8}
    own = attached.chat(turns, persona="bold", activate="answer", **draw)
    assert ask("tiny:bold", **body) == ask("base", persona="bold", **body) == own
    assert ask("tiny:bold", activate="prompt") == ask("tiny:bold") != own
    assert ask("tiny", **body) == ask("tiny")
    with pytest.raises(openai.BadRequestError, match="activate"):
        ask("tiny:bold", activate="later")
    reply = HTTP.get(f"{live.url}/health").json()
    assert reply["status"] == "ok"


def test_the_base_with_it_is_the_one_voice_of_the_base(attached):
    service = Service(attached, "tiny")

    async def voice(model):
        work, turns = Work(), [{"role": "user", "content": "Hi"}]
        service.chat(ChatBody(model=model, messages=turns, activate="answer"), work)
        return work.rows[0].voice

    assert asyncio.run(voice("tiny")) == Voice()
    assert asyncio.run(voice("tiny:bold")) == Voice("bold", activate="answer")
    service.engine.close()
