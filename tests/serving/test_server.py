"""The server as a whole: limits under pressure, times, health, and its orderly end."""

from __future__ import annotations

import json
import threading
import time

import httpx2
import openai
import pytest

from prosopon.errors import OptionError
from prosopon.runtime import PersonaModel
from prosopon.serving.access import Keys
from prosopon.serving.server import Address, Server
from prosopon.serving.service import Limits, Service
from tests.runtime import samples as weights
from tests.serving import samples
from tests.serving.samples import HTTP
from tests.serving.test_engine import held

LONG = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "temperature": 2}


def post(live, **settings):
    return HTTP.post(f"{live.url}/v1/chat/completions", json=LONG | settings, timeout=30)


class Request(threading.Thread):
    """A request in a thread of its own; ``reply`` is what came."""

    def __init__(self, live, **settings):
        super().__init__()
        self.live, self.settings, self.reply = live, settings, None
        self.start()

    def run(self):
        self.reply = post(self.live, **self.settings)

    def result(self):
        self.join(30)
        return self.reply


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False),
    ],
)  # fmt: skip
def test_other_machines_need_a_key(host, loopback):
    address = Address(host)
    assert address.is_loopback == loopback
    address.check(Keys(["key"]))
    if loopback:
        address.check(Keys())
        return
    for keys in (Keys(), Keys(admins=["key"])):
        with pytest.raises(OptionError, match=f"--host {host}: other machines could ask without"):
            address.check(keys)


def test_a_server_that_others_could_ask_is_not_made(attached):
    with pytest.raises(OptionError, match="PROSOPON_API_KEY"):
        Server(service := Service(attached, "tiny"), Address("0.0.0.0"), Keys())
    assert not service.engine.is_alive
    attached.close()


def test_loopback_is_where_it_listens_by_default():
    assert Address().host == "127.0.0.1"


def test_a_full_queue_answers_429_and_says_when(attached, monkeypatch):
    with held(monkeypatch) as (entered, free), samples.running(attached, rows=1, queue=1) as live:
        first = Request(live, max_tokens=2)
        assert entered.wait(20)
        second = Request(live, max_tokens=2)
        until(lambda: live.service.engine.waiting == 1)
        refused = post(live, max_tokens=2)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.json()["error"]["code"] == "queue_full"
        with (
            openai.OpenAI(base_url=f"{live.url}/v1", api_key="x", max_retries=0) as client,
            pytest.raises(openai.RateLimitError),
        ):
            client.chat.completions.create(**LONG)
        free.set()
        assert [request.result().status_code for request in (first, second)] == [200, 200]
        assert post(live, max_tokens=2).is_success


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_takes_too_long_fails_and_the_next_one_is_served(
    attached, monkeypatch, stream
):
    limits = Limits(max_tokens=400, seconds=0.2)
    with held(monkeypatch) as (_, free), samples.running(attached, limits=limits) as live:
        request = Request(live, max_tokens=300, stream=stream)
        until(lambda: live.service.engine.running == 1)
        time.sleep(0.25)
        free.set()
        reply = request.result()
        if stream and reply.status_code == 200:  # it had begun: the stream says it
            assert json.loads(reply.text.split("data: ")[-1])["error"]["code"] == "timeout"
        else:
            assert (reply.status_code, reply.json()["error"]["code"]) == (504, "timeout")
        assert post(live, max_tokens=1).is_success


def test_health_says_which_engine_runs(live):
    body = HTTP.get(f"{live.url}/health").json()
    assert body["status"] == "ok"
    assert body["engine"] == live.service.engine.description
    assert body["engine"].startswith("continuous batches of any voices, at most 8 rows, prefix")
    assert body["fallback"] is None
    assert body["prefix_hit_rate"] is None or 0 <= body["prefix_hit_rate"] < 1
    assert body["personas"] == 3
    assert 0 < body["rounding"] < 0.25
    assert HTTP.get(f"{live.url}/ready").json() == {"ready": True}


def test_stopping_finishes_what_can_be_and_refuses_the_rest(attached, monkeypatch):
    """Of two answers one fits into the grace; both get a status, and nothing hangs."""
    address = Address(port=0, grace=0.5)
    with held(monkeypatch) as (entered, free):
        with samples.running(attached, rows=1, address=address) as live:
            short = Request(live, max_tokens=1)
            assert entered.wait(20)
            late = Request(live, max_tokens=1)
            until(lambda: live.service.engine.waiting == 1)
            live.server.should_exit = True
            until(lambda: not live.service.engine.is_ready)
            time.sleep(0.6)
            free.set()
            assert short.result().status_code == 200
            assert late.result().status_code == 503
            assert late.result().json()["error"]["code"] == "stopping"
            assert late.result().headers["Retry-After"] == "5"
        with pytest.raises(httpx2.ConnectError):
            post(live)


def test_stopping_in_the_middle_of_a_stream_ends_it_cleanly(attached):
    address = Address(port=0, grace=0.0)
    body = LONG | {"stream": True, "max_tokens": 400, "n": 4, "model": "tiny:bold"}
    with (
        samples.running(attached, address=address) as live,
        HTTP.stream("POST", f"{live.url}/v1/chat/completions", json=body) as reply,
    ):
        lines = (line for line in reply.iter_lines() if line)
        next(lines)
        live.server.should_exit = True
        last = list(lines)[-1]
    if last != "data: [DONE]":  # else it was faster
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "stopping"


def test_a_model_that_was_served_is_free_and_whole_again():
    attached = samples.wearer()
    base = weights.weights(attached.model)
    with samples.running(attached) as live:
        assert post(live, max_tokens=2, model="tiny:bold").is_success
    weights.assert_bits(attached.model, base)
    PersonaModel(attached.model).close()
