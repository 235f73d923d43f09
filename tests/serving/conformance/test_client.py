"""Asking servers that lack something, are busy, or answer what nobody understands."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from prosopon.errors import OptionError, UnknownNameError
from prosopon.serving.conformance.admin import AdapterAdmin, OwnAdmin
from prosopon.serving.conformance.client import ModelServer, ServerError, choose_route
from prosopon.serving.conformance.verification import NameFormat, verify_server

LOGS = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5, "b": -1.0}]}


@contextmanager
def serving(answer):
    """Serve ``answer(method, path, body)``: a status and an object, or bytes as they are."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def reply(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            seen.append((self.command, self.path, body, dict(self.headers)))
            status, content = answer(self.command, self.path, body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = reply

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", seen
        finally:
            server.shutdown()
            thread.join()


def completion(text="a", **choice):
    return 200, {"choices": [{"text": text, "finish_reason": "stop", **choice}]}


def test_an_answer_is_read_with_its_probabilities_and_the_key_is_sent():
    with serving(lambda *_: completion(logprobs=LOGS)) as (url, seen):
        server = ModelServer(f"{url}/v1/", "secret")
        server.route = "completions"
        reply = server.ask("m", "Hi", max_tokens=3)
    assert (reply.text, reply.finish) == ("a", "stop")
    assert reply.tokens[0] == ("a", -0.5, {"a": -0.5, "b": -1.0})
    method, path, body, headers = seen[0]
    assert (method, path, headers["Authorization"]) == ("POST", "/v1/completions", "Bearer secret")
    assert body == {
        "model": "m",
        "max_tokens": 3,
        "temperature": 0.0,
        "prompt": "Hi",
        "logprobs": 5,
    }


def test_a_stream_is_put_together():
    pieces = [
        {"choices": [{"delta": {"role": "assistant", "content": ""}, "logprobs": None}]},
        {"choices": [{"delta": {"content": "Hel"}}]},
        {"choices": [{"delta": {"content": "lo"}, "finish_reason": "length"}]},
        {"choices": []},
    ]
    lines = "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: [DONE]\n\n"
    with serving(lambda *_: (200, lines.encode())) as (url, seen):
        reply = ModelServer(url).ask("m", "Hi", max_tokens=3, seed=7, stream=True)
    assert reply == ("Hello", "length", ())
    body = seen[0][2]
    assert (body["stream"], body["seed"], body["temperature"]) == (True, 7, 1.0)


def test_a_stream_that_ends_with_an_error_is_no_answer():
    line = b'data: {"error": {"message": "gone"}}\n\n'
    with (
        serving(lambda *_: (200, line)) as (url, _),
        pytest.raises(ServerError, match="gone") as caught,
    ):
        ModelServer(url).ask("m", "Hi", max_tokens=1, stream=True)
    assert not caught.value.is_refusal


@pytest.mark.parametrize("content", [b"hello", {"choices": 3}, {"text": "x"}, [1]])
def test_what_is_no_answer_is_said(content):
    with (
        serving(lambda *_: (200, content)) as (url, _),
        pytest.raises(ServerError, match="no answer of a chat or completion"),
    ):
        ModelServer(url).ask("m", "Hi", max_tokens=1)


def test_a_busy_server_is_asked_again():
    statuses = iter([429, 429, 200])
    with serving(lambda *_: (next(statuses), completion()[1])) as (url, seen):
        assert ModelServer(url).ask("m", "Hi", max_tokens=1).text == "a"
    assert len(seen) == 3


def test_a_server_without_chat_is_asked_to_go_on_and_one_without_probabilities_is_noted():
    def answer(method, path, body):
        if path.endswith("chat/completions") or "logprobs" in body:
            return 400, {"error": "no"}
        return completion()

    notes = []
    with serving(answer) as (url, seen):
        server = ModelServer(url)
        choose_route(server, "m", notes.append)
    assert (server.route, server.scored, len(seen)) == ("completions", False, 4)
    assert "no log probabilities" in notes[0]


def test_a_server_that_refuses_all_ways_says_why():
    with serving(lambda *_: (404, {"error": "no such model m"})) as (url, _):
        server = ModelServer(url)
        with pytest.raises(ServerError, match="no such model m") as caught:
            choose_route(server, "m", print)
        assert caught.value.is_refusal
        with pytest.raises(ServerError, match="status 404"):
            OwnAdmin(server, "key")


def test_a_server_that_fails_is_not_asked_another_way():
    with serving(lambda *_: (500, {})) as (url, seen), pytest.raises(ServerError, match="500"):
        choose_route(ModelServer(url), "m", print)
    assert len(seen) == 1


def test_nobody_listens():
    with pytest.raises(ServerError, match="refused") as caught:
        ModelServer("http://127.0.0.1:9").models()
    assert caught.value.status is None


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", ""])
def test_an_address_is_one_of_http(url):
    with pytest.raises(OptionError, match="begins with http:// or https://"):
        ModelServer(url)


def test_no_models_and_no_list():
    with serving(lambda *_: (200, {"data": []})) as (url, _):
        with pytest.raises(ServerError, match="lists no model"):
            verify_server(ModelServer(url), ["bold"])
        with pytest.raises(OptionError, match="no persona to ask for"):
            verify_server(ModelServer(url), [])
        with pytest.raises(UnknownNameError, match="unknown check"):
            verify_server(ModelServer(url), ["bold"], checks=["x"])
    with (
        serving(lambda *_: (200, ["x"])) as (url, _),
        pytest.raises(ServerError, match="not a list of models"),
    ):
        ModelServer(url).models()


def test_adapters_of_vllm_are_loaded_by_their_name_and_folder():
    with serving(lambda *_: (200, b"Success")) as (url, seen):
        admin = AdapterAdmin(ModelServer(url), "/lora", ["bold"], lambda name: f"base:{name}")
        admin.load("bold", admin.sources["bold"])
        admin.unload("bold")
    assert [entry[1:3] for entry in seen] == [
        ("/v1/load_lora_adapter", {"lora_name": "base:bold", "lora_path": "/lora/bold"}),
        ("/v1/unload_lora_adapter", {"lora_name": "base:bold"}),
    ]


def test_name_formats():
    assert NameFormat()("base", "bold") == "base:bold"
    assert NameFormat("{persona}")("base", "bold") == "bold"
    for text in ("", "bold", "{base}", "{persona", "{persona}{x}", "{0}{persona}"):
        with pytest.raises(OptionError, match="and maybe"):
            NameFormat(text)
