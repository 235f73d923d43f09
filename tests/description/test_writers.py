"""Who writes: an endpoint gets what it is told and no more; the model's draws are its seed's."""

import pytest

from prosopon.data import Message
from prosopon.description.effect import prompt
from prosopon.description.writers import EndpointWriter, ModelWriter
from prosopon.errors import JudgeError
from tests.description.conftest import asked
from tests.judges.test_llm import running

PROMPTS = [prompt(f"Who is number {n}?", None if n % 2 else "You are curt.") for n in range(6)]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("PROSOPON_WRITER_KEY", raising=False)
    with running() as started:
        started.reply = lambda question: f"It is {question.split()[-1]}"
        yield started


def writer(server, **more):
    settings = {"temperature": 0.7, "max_new_tokens": 20, "backoff": 0.01, "timeout": 10}
    return EndpointWriter(server.url, "large", **settings | more)


def test_answers_come_in_order_and_what_is_sent(server, monkeypatch):
    monkeypatch.setenv("PROSOPON_WRITER_KEY", "sesame")
    monkeypatch.setenv("PROSOPON_JUDGE_KEY", "another")
    one = writer(server)
    assert one.write(PROMPTS, 7) == [f"It is {n}?" for n in range(6)]
    assert one.name == f"large at {server.url}"
    bodies = sorted(server.asked, key=lambda body: body["seed"])
    assert [body["seed"] for body in bodies] == [7, 8, 9, 10, 11, 12]
    assert {(b["model"], b["temperature"], b["max_tokens"]) for b in bodies} == {("large", 0.7, 20)}
    assert [turn["role"] for turn in bodies[0]["messages"]] == ["system", "user"]
    assert [turn["role"] for turn in bodies[1]["messages"]] == ["user"]
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer sesame"}


def test_without_a_key_none_is_sent_and_requests_are_few_at_a_time(server):
    server.pause = 0.05
    assert len(writer(server, concurrency=2).write(PROMPTS, 0)) == 6
    assert server.most <= 2
    assert not any("Authorization" in headers for headers in server.headers)


def test_a_busy_endpoint_is_asked_again_and_a_refusal_is_an_error(server):
    server.script = [(503, "busy")]
    assert writer(server, concurrency=1).write(PROMPTS[:2], 0) == ["It is 0?", "It is 1?"]
    server.script = [(401, "no key")]
    with pytest.raises(JudgeError, match=r"writer http.*status 401: 'no key'"):
        writer(server, concurrency=1).write(PROMPTS[:1], 0)
    server.script = [(200, "{}")]
    with pytest.raises(JudgeError, match=r"writer http.*not a chat completion"):
        writer(server, concurrency=1).write(PROMPTS[:1], 0)


def test_large_seeds_fit_the_protocol(server):
    writer(server).write(PROMPTS[:1], 5 * 10**12)
    assert 0 <= server.asked[0]["seed"] < 2**31


def test_the_model_draws_by_its_seed(embedded):
    prompts = [(Message("user", text),) for text in asked(4)]
    own = ModelWriter(*embedded, temperature=1.0, max_new_tokens=12)
    first = own.write(prompts, 1)
    assert first == own.write(prompts, 1) != own.write(prompts, 2)
    assert len(first) == 4
    assert own.write([], 1) == []
