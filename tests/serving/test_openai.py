"""The running server, asked by the official client, against the engine asked row by row."""

from __future__ import annotations

import json
import threading

import openai
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from prosopon.data import Message
from prosopon.lm.generation import opening_tokens, text_tokens
from prosopon.lm.streaming import end_tokens
from prosopon.serving.batch import RowBatch
from prosopon.serving.row import AnswerRow, DrawSettings
from prosopon.serving.voice import Voice
from tests.serving import samples
from tests.serving.samples import HTTP

HELLO = [{"role": "user", "content": "Hello, who are you?"}]
SAID = [Message("user", "Hello, who are you?")]


@pytest.fixture(scope="module")
def reference():
    """Return ``ask(voice, prompt, **settings)``: one row alone, on a model of its own."""
    attached = samples.wearer(personas=("bold", "calm", "heavy"))
    tokenizer = attached.tokenizer

    def ask(voice, prompt=SAID, **settings):
        tokens = text_tokens(prompt, tokenizer) if isinstance(prompt, str) else None
        tokens = tokens or opening_tokens(prompt, tokenizer)
        trimmed = not isinstance(prompt, str)
        one, events = samples.row(voice, tokens, trimmed=trimmed, **settings)
        RowBatch(attached, [one], crowded=False).run()
        one.text = samples.text(events)
        return one

    ask.ends = end_tokens(attached.model, tokenizer)
    return ask


def chat(client, model="tiny", messages=HELLO, **settings):
    settings = {"max_tokens": 12, "seed": 5} | settings
    return client.chat.completions.create(model=model, messages=messages, **settings)


def test_models_are_the_base_and_every_persona_with_their_origin(client, live):
    models = {model.id: model for model in client.models.list()}
    assert list(models) == ["tiny", "tiny:bold", "tiny:calm", "tiny:heavy"]
    bold = models["tiny:bold"].prosopon
    assert (bold["persona"], bold["target"], bold["opposite"]) == ("bold", "bold", "extravert")
    assert 0.03 < bold["pruned_share"] < 0.05
    assert bold["fingerprint"] == models["tiny"].prosopon["fingerprint"]
    assert bold["has_strengths"] is True
    assert client.models.retrieve("tiny:bold") == models["tiny:bold"]
    with pytest.raises(openai.NotFoundError, match="Choices: tiny, tiny:bold"):
        client.models.retrieve("tiny:zz")


@pytest.mark.parametrize(
    ("model", "persona", "voice"),
    [
        ("tiny", None, Voice()),
        ("base", None, Voice()),
        ("base:bold", None, Voice("bold")),
        ("tiny:heavy", None, Voice("heavy")),
        ("tiny", "calm", Voice("calm")),
        ("tiny:calm", {"name": "calm", "strength": 0.5}, Voice("calm", 0.5)),
        ("base", {"blend": {"bold": 0.5, "calm": 1.0}}, samples.VOICES[4]),
    ],
)
def test_the_persona_that_is_asked_answers(client, reference, model, persona, voice):
    extra = None if persona is None else {"persona": persona}
    reply = chat(client, model, extra_body=extra)
    alone = reference(voice, max_tokens=12, seed=5)
    ChatCompletion.model_validate(reply.model_dump())
    assert reply.choices[0].message.content == alone.text
    assert reply.choices[0].message.role == "assistant"
    assert reply.model == model
    assert reply.usage.prompt_tokens == len(alone.prompt)
    finish = "length" if len(alone.written) == 12 else "stop"
    assert reply.choices[0].finish_reason == finish
    assert reply.usage.completion_tokens == len(alone.written) + (finish == "stop")
    assert reply.usage.total_tokens == sum(
        (reply.usage.prompt_tokens, reply.usage.completion_tokens)
    )


def test_voices_differ(client):
    texts = {chat(client, f"tiny:{name}").choices[0].message.content for name in ("bold", "calm")}
    texts |= {chat(client).choices[0].message.content}
    assert len(texts) == 3


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"top_p": 0.5}, {"temperature": 1.7}])
def test_settings_are_obeyed(client, reference, settings):
    reply = chat(client, "tiny:bold", **settings)
    assert (
        reply.choices[0].message.content
        == reference(Voice("bold"), max_tokens=12, seed=5, **settings).text
    )


def test_n_answers_have_the_next_seeds(client, reference):
    reply = chat(client, "tiny:bold", n=3)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    rows = [reference(Voice("bold"), max_tokens=12, seed=seed) for seed in (5, 6, 7)]
    assert [choice.message.content for choice in reply.choices] == [row.text for row in rows]
    assert reply.usage.prompt_tokens == len(rows[0].prompt)
    ends = sum(choice.finish_reason == "stop" for choice in reply.choices)
    assert reply.usage.completion_tokens == sum(len(row.written) for row in rows) + ends


def test_without_a_seed_replies_differ(client):
    replies = [chat(client, seed=openai.omit).choices[0].message.content for _ in range(3)]
    assert len(set(replies)) > 1


@pytest.mark.parametrize("n", [1, 2])
def test_a_stream_is_the_reply_in_pieces(client, n):
    whole = chat(client, "tiny:calm", n=n, logprobs=True, top_logprobs=2)
    chunks = list(
        chat(
            client, "tiny:calm", n=n, logprobs=True, top_logprobs=2, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert len({chunk.id for chunk in chunks}) == 1
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.model_dump())
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    for number, choice in enumerate(whole.choices):
        own = [c for chunk in chunks for c in chunk.choices if c.index == number]
        assert own[0].delta.role == "assistant"
        assert "".join(c.delta.content or "" for c in own) == choice.message.content
        assert [c.finish_reason for c in own if c.finish_reason] == [choice.finish_reason]
        content = [entry for c in own if c.logprobs for entry in c.logprobs.content]
        assert [e.token for e in content] == [e.token for e in choice.logprobs.content]


def test_a_stream_comes_while_it_is_written(live, client):
    """The first piece is there before the last one is drawn."""
    pieces, served = iter(chat(client, max_tokens=300, stream=True, temperature=2)), live.service
    next(pieces)
    next(pieces)
    assert served.engine.running == 1
    assert len(served.engine._running[0].written) < 300
    assert [piece.choices[0].finish_reason for piece in pieces][-1] in ("length", "stop")


def test_logprobs_are_those_of_the_model(client, live):
    import torch

    reply = chat(client, "tiny", logprobs=True, top_logprobs=3, temperature=0, max_tokens=4)
    model, tokenizer = samples.wearer(personas=()).model, live.service.tokenizer
    tokens = opening_tokens(SAID, tokenizer)
    for entry in reply.choices[0].logprobs.content:
        with torch.no_grad():
            logs = model(torch.tensor([tokens])).logits[0, -1].double().log_softmax(0)
        top = logs.topk(3)
        assert [one.logprob for one in entry.top_logprobs] == pytest.approx(
            top.values.tolist(), abs=1e-4
        )
        assert entry.logprob == entry.top_logprobs[0].logprob
        token = int(top.indices[0])
        assert entry.token == tokenizer.decode([token])
        if entry.bytes is not None:
            assert bytes(entry.bytes).decode() == entry.token
        tokens.append(token)


def test_a_completion_goes_on_from_texts_and_tokens(client, live, reference):
    texts = ["Yes, the people", "Yes"]
    tokens = [text_tokens(text, live.service.tokenizer) for text in texts]
    settings = {"max_tokens": 8, "seed": 3, "n": 2, "logprobs": 1}
    replies = [
        client.completions.create(model="tiny:bold", prompt=prompt, **settings)
        for prompt in (texts, tokens)
    ]
    for reply in replies:
        Completion.model_validate(reply.model_dump())
    alone = [
        reference(Voice("bold"), texts[number // 2], max_tokens=8, seed=3 + number)
        for number in range(4)
    ]
    assert [choice.text for choice in replies[0].choices] == [row.text for row in alone]
    assert [choice.text for choice in replies[1].choices] == [row.text for row in alone]
    assert [choice.index for choice in replies[0].choices] == [0, 1, 2, 3]
    assert replies[0].usage.prompt_tokens == sum(map(len, tokens))
    logs = replies[0].choices[0].logprobs
    assert logs.text_offset[0] == 0
    assert logs.text_offset[1] == len(logs.tokens[0])
    assert len(logs.tokens) == len(logs.token_logprobs) == len(logs.top_logprobs)
    single = client.completions.create(model="tiny:bold", prompt=tokens[0], max_tokens=8, seed=3)
    assert single.choices[0].text == alone[0].text
    assert single.choices[0].logprobs is None


def test_a_completion_in_a_stream(client):
    settings = {"model": "tiny", "prompt": "Yes", "seed": 3, "logprobs": 0}
    whole = client.completions.create(**settings)
    chunks = list(client.completions.create(**settings, stream=True))
    assert whole.usage.completion_tokens <= 16  # OpenAI's default
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    offsets = [
        place
        for chunk in chunks
        if chunk.choices[0].logprobs
        for place in chunk.choices[0].logprobs.text_offset
    ]
    assert offsets == whole.choices[0].logprobs.text_offset


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_across_tokens(client, stream):
    text = chat(client, "tiny:bold", max_tokens=30).choices[0].message.content
    stop = text[4:7]
    cut = text[: text.index(stop)].strip()
    reply = chat(client, "tiny:bold", max_tokens=30, stop=["never", stop], stream=stream)
    if stream:
        choices = [chunk.choices[0] for chunk in reply]
        assert "".join(choice.delta.content or "" for choice in choices).strip() == cut
        assert choices[-1].finish_reason == "stop"
    else:
        assert reply.choices[0].message.content.strip() == cut
        assert reply.choices[0].finish_reason == "stop"


def test_turns_and_parts_of_a_conversation(client, reference):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "He"}, {"type": "text", "text": "y"}],
        },
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Who?"},
    ]
    turns = [("system", "Be brief."), ("user", "Hey"), ("assistant", "Yes?"), ("user", "Who?")]
    alone = reference(Voice(), [Message(*turn) for turn in turns], max_tokens=12, seed=5)
    reply = chat(client, messages=messages, max_tokens=openai.omit, max_completion_tokens=12)
    assert reply.choices[0].message.content == alone.text


def test_a_crowd_of_clients_gets_what_each_gets_alone(live, client):
    """Threads that ask at once, each for another voice and seed."""
    asked = [
        {"model": f"tiny{name}", "seed": seed, "max_tokens": 6 + seed}
        for seed, name in enumerate(["", ":bold", ":calm", ":heavy"] * 3)
    ]
    expected = [chat(client, **settings).choices[0].message.content for settings in asked]
    replies = [None] * len(asked)

    def ask(number):
        replies[number] = chat(client, **asked[number]).choices[0].message.content

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert replies == expected


@pytest.mark.parametrize(
    ("settings", "status", "words"),
    [
        ({"model": "tiny:nobody"}, 404, "unknown persona 'nobody'.*Choices: bold, calm, heavy"),
        ({"model": "gpt-4"}, 404, "unknown model 'gpt-4'.*tiny:heavy"),
        ({"extra_body": {"persona": {"blend": {"bold": 1, "zz": 1}}}}, 404, "persona 'zz'"),
        ({"extra_body": {"persona": "a/../b"}}, 404, "unknown persona"),
        ({"model": "tiny:bold", "extra_body": {"persona": "calm"}}, 400, "persona says another"),
        ({"extra_body": {"persona": {"name": "bold", "strength": 1.5}}}, 400, "strength"),
        ({"extra_body": {"persona": {"strength": 1}}}, 400, "either a name or a blend"),
        ({"extra_body": {"persona": {"blend": {"bold": 1}, "strength": 1}}}, 400, "as weights"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "role"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "x"}]}, 400, "ends with the"),
        ({"messages": [{"role": "user", "content": "x" * 600}]}, 400, "context of 512"),
        ({"max_tokens": 401}, 400, "at most 400"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"temperature": 3}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"n": 100}, 400, "100 answers in one request"),
        ({"stop": ""}, 400, "stop"),
        ({"top_logprobs": 3}, 400, "needs logprobs"),
        ({"frequency_penalty": 0.5}, 400, "frequency_penalty"),
        ({"tools": []}, 400, "tools: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_done_is_refused(client, settings, status, words):
    with pytest.raises(openai.APIStatusError, match=words) as refusal:
        chat(client, **settings)
    assert refusal.value.status_code == status
    assert refusal.value.body["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ([], "prompt"),
        ([10**6], "the model knows those below"),
        ([-1], "prompt"),
        ("x" * 600, "do not fit"),
    ],
)
def test_prompts_that_cannot_be_gone_on_from(client, prompt, words):
    with pytest.raises(openai.BadRequestError, match=words):
        client.completions.create(model="tiny", prompt=prompt)


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"null", b"\xff", b'{"model": "tiny", "messages": NaN}', b"[" * 5000,
        b'{"model": "tiny", "prompt": "\\ud800"}',
        b'{"model": "tiny", "prompt": "x", "temperature": 1e999}',
        b'{"model": "tiny", "prompt": "x", "seed": 99999999999999999999999}',
        b'{"model": "tiny", "prompt": ""}' * 2,
    ],
)  # fmt: skip
@pytest.mark.parametrize("route", ["completions", "chat/completions"])
def test_broken_bodies_are_a_clear_400(live, route, body):
    kind = {"Content-Type": "application/json"}
    reply = HTTP.post(f"{live.url}/v1/{route}", content=body, headers=kind)
    assert reply.status_code == 400
    assert json.loads(reply.content)["error"]["message"]


def test_a_chat_without_a_limit_fills_the_context_at_most(live):
    service = live.service
    room = service._room(500, 1)
    assert room == 12
    one = AnswerRow(Voice(), [1] * 500, DrawSettings(min(service.limits.max_tokens, room)), print)
    assert one.settings.max_tokens == 12
