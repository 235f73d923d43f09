"""What a request passes: keys, hosts, kinds, sizes, times; and what is logged and counted of it."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from prosopon.serving import access
from prosopon.serving.access import Keys, check_local
from prosopon.serving.gate import Gate
from prosopon.serving.metrics import Metrics
from prosopon.serving.refusal import Refusal
from prosopon.serving.server import Address
from tests.serving import samples
from tests.serving.samples import HTTP

JSON = {"Content-Type": "application/json"}
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "SECRET"}], "max_tokens": 3}


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_without_keys_everybody_may_ask_and_nobody_administer():
    keys = Keys()
    keys.check("/v1/models", None)
    assert not keys.protects
    with pytest.raises(Refusal, match="PROSOPON_ADMIN_KEY") as refusal:
        keys.check("/admin/personas", "Bearer x")
    assert refusal.value.status == 403


@pytest.mark.parametrize(
    ("path", "key", "passes"),
    [
        ("/v1/models", "user", True),
        ("/v1/models", "second", True),
        ("/v1/models", "admin", True),
        ("/metrics", "user", True),
        ("/admin/personas", "admin", True),
        ("/admin", "admin", True),
        ("/admin/personas", "user", False),
        ("/v1/models", "use", False),
        ("/v1/models", "user1", False),
        ("/v1/models", "", False),
        ("/v1/models", "üser", False),
        ("/metrics", "x", False),
        ("/health", "x", True),
        ("/ready", "", True),
        ("/healthy", "", False),
    ],
)
def test_a_key_opens_what_it_is_for(path, key, passes):
    keys = Keys(["user", "second"], ["admin"])
    if passes:
        keys.check(path, f"Bearer {key}")
        return
    with pytest.raises(Refusal) as refusal:
        keys.check(path, f"Bearer {key}")
    assert refusal.value.status == 401
    assert refusal.value.headers == {"WWW-Authenticate": "Bearer"}


@pytest.mark.parametrize("text", [None, "", "user", "Basic user", "Bearer", "Bearer user x"])
def test_a_key_needs_its_scheme(text):
    with pytest.raises(Refusal, match="Authorization: Bearer KEY"):
        Keys(["user"]).check("/v1/models", text)
    Keys(["user"]).check("/v1/models", "bearer  user ")


def test_every_key_is_compared_whatever_the_first_one_says(monkeypatch):
    seen = []

    def compare(one, other):
        seen.append(len(one) == len(other) == 32)  # digests: the length says nothing either
        return one == other

    monkeypatch.setattr(access.hmac, "compare_digest", compare)
    Keys(["first", "second"], ["third"]).check("/v1/models", "Bearer first")
    assert seen == [True] * 3


def test_a_name_of_this_machine_is_needed():
    for host in ("localhost:80", "LOCALHOST", "127.0.0.1:8000", "[::1]:8000", "[::1]"):
        check_local(host)
    for host in ("evil.example:8000", "", "localhost.evil.example", "127.0.0.1.evil:80", "::1"):
        with pytest.raises(Refusal, match="localhost or") as refusal:
            check_local(host)
        assert refusal.value.status == 421


@pytest.fixture(scope="module")
def guarded():
    keys = Keys(["user"], ["admin"])
    address = Address(port=0, body_bytes=2000)
    with samples.running(samples.wearer(), keys=keys, address=address) as live:
        yield live


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/ready", 200),
        ("GET", "/v1/models", 401),
        ("GET", "/metrics", 401),
        ("GET", "/openapi.json", 401),
        ("POST", "/v1/chat/completions", 401),
        ("GET", "/admin/personas", 401),
        ("DELETE", "/admin/personas/bold", 401),
        ("GET", "//admin/personas", 401),
        ("GET", "/nothing", 401),
    ],
)
def test_routes_without_a_key(guarded, method, path, status):
    reply = HTTP.request(method, guarded.url + path)
    assert reply.status_code == status
    if status == 401:
        assert reply.json()["error"]["code"] == "invalid_api_key"
        assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_a_user_asks_but_does_not_administer(guarded):
    for path, status in (("/v1/models", 200), ("/metrics", 200), ("/admin/personas", 401)):
        assert HTTP.get(guarded.url + path, headers=bearer("user")).status_code == status
    assert HTTP.get(f"{guarded.url}/admin/personas", headers=bearer("admin")).is_success
    assert HTTP.get(f"{guarded.url}/nothing", headers=bearer("user")).status_code == 404


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/", True), ("/config", True), ("/gradio_api/upload", True), ("/v1x", True), ("", True),
        ("//v1/models", True), ("/v1", False), ("/v1/models", False), ("/admin/personas", False),
        ("/metrics", False), ("/health", False), ("/openapi.json", False),
    ],
)  # fmt: skip
def test_what_is_the_pages(path, page):
    assert access.is_page(path) == page


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        (None, True), ("http://127.0.0.1:8000", True), ("https://127.0.0.1:8000", True),
        ("http://127.0.0.1:8001", False), ("http://evil.org", False), ("null", False),
        ("http://evil.org/127.0.0.1:8000", False), ("http://127.0.0.1:8000@evil.org", False),
    ],
)  # fmt: skip
def test_only_the_servers_own_page_sends_forms(origin, passes):
    if passes:
        access.check_origin(origin, "127.0.0.1:8000")
        return
    with pytest.raises(Refusal, match="this server's own page") as refusal:
        access.check_origin(origin, "127.0.0.1:8000")
    assert refusal.value.status == 403


def through(path, headers, **settings):
    """Send a POST through a gate; returns its status."""
    sent, messages = [], [{"type": "http.request", "body": b"{}", "more_body": False}]

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return messages.pop()

    async def send(message):
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "headers": pairs}
    asyncio.run(Gate(app, Keys(["user"]), Metrics(), 100, **settings)(scope, receive, send))
    return sent[0]["status"]


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/v1/chat/completions"])
def test_a_page_checks_keys_itself_and_takes_files_of_its_own(path):
    form = {"host": "x", "content-type": "multipart/form-data", "origin": "http://x"}
    is_page = not path.startswith("/v1")
    assert through(path, form, page=True) == (200 if is_page else 401)
    assert through(path, form | {"origin": "http://y"}, page=True) == (403 if is_page else 401)
    assert through(path, form) == 401
    assert through(path, form | {"host": "evil.org"}, page=True, local=True) == 421


def test_a_large_body_is_refused_before_it_is_read(guarded):
    """50 MB are announced and never sent: the answer comes all the same."""
    place = urlsplit(guarded.url)
    with socket.create_connection((place.hostname, place.port), 20) as line:
        line.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer user\r\n"
            b"Content-Type: application/json\r\nContent-Length: 50000000\r\n\r\n{"
        )
        reply = b"".join(iter(lambda: line.recv(4096), b""))
    assert reply.startswith(b"HTTP/1.1 413")
    assert b"larger than 2000 bytes" in reply


def test_a_large_body_of_unknown_length_is_refused(guarded):
    reply = HTTP.post(
        f"{guarded.url}/v1/completions",
        content=(b"x" * 500 for _ in range(8)),
        headers=JSON | bearer("user"),
    )
    assert reply.status_code == 413


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_other_kinds_of_bodies_are_refused(guarded, kind):
    headers = bearer("user") | ({"Content-Type": kind} if kind else {})
    body = json.dumps(CHAT).encode()
    reply = HTTP.post(f"{guarded.url}/v1/chat/completions", content=body, headers=headers)
    assert reply.status_code == 415
    headers["Content-Type"] = "Application/JSON; charset=utf-8"
    assert HTTP.post(f"{guarded.url}/v1/chat/completions", content=body, headers=headers).is_success


def test_no_other_site_is_let_in(guarded):
    reply = HTTP.options(
        f"{guarded.url}/v1/chat/completions",
        headers=bearer("user")
        | {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert reply.status_code == 405
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_an_open_server_on_loopback_is_asked_by_its_own_name(live):
    bent = {"Host": "evil.example"}
    assert HTTP.get(f"{live.url}/v1/models", headers=bent).status_code == 421
    assert HTTP.get(f"{live.url}/v1/models").is_success


@contextmanager
def records():
    """Collect what is logged."""

    class Keeper(logging.Handler):
        def emit(self, record):
            lines.append(record.__dict__["fields"] | {"event": record.getMessage()})

    lines, logger, handler = [], logging.getLogger("prosopon.serving"), Keeper()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def line_of(reply, lines):
    """Return the line of a reply, which is written after it is sent."""
    id = reply.headers["x-request-id"]
    until(lambda: id in [line["id"] for line in lines])
    return next(line for line in lines if line["id"] == id)


def test_a_request_is_logged_without_its_text(live):
    with records() as lines:
        body = CHAT | {"model": "tiny:bold", "seed": 5, "max_tokens": 20}
        reply = HTTP.post(f"{live.url}/v1/chat/completions", json=body)
        line = line_of(reply, lines)
    assert reply.json()["id"] == line["id"].replace("req", "chatcmpl")
    assert line["event"] == "request"
    assert (line["route"], line["status"], line["persona"]) == (
        "/v1/chat/completions", 200, "bold",
    )  # fmt: skip
    usage = reply.json()["usage"]
    assert line["prompt_tokens"] == usage["prompt_tokens"]
    assert line["completion_tokens"] == usage["completion_tokens"]
    text = json.dumps(lines)
    assert "SECRET" not in text
    answer = reply.json()["choices"][0]["message"]["content"]
    assert len(answer) > 3
    assert json.dumps(answer)[1:-1] not in text


def test_refusals_are_logged_and_counted_without_their_text(live):
    body = CHAT | {"temperature": 5}
    with records() as lines:
        reply = HTTP.post(f"{live.url}/v1/chat/completions", json=body)
        assert line_of(reply, lines)["status"] == reply.status_code == 400
    assert "SECRET" not in json.dumps(lines)
    text = HTTP.get(f"{live.url}/metrics").text
    assert 'prosopon_requests_total{route="/v1/chat/completions",status="400"}' in text


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_frees_its_rows(live, stream):
    """A long answer stops soon after nobody listens."""
    place, engine = urlsplit(live.url), live.service.engine
    messages = [{"role": "user", "content": "x"}]
    body = {"model": "tiny:heavy", "messages": messages, "stream": stream, "n": 8, "seed": 1}
    content = json.dumps(body | {"temperature": 2}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{_head(content)}\r\n"
    with records() as lines:
        with socket.create_connection((place.hostname, place.port), 20) as line:
            line.sendall(head.encode() + content)
            until(lambda: engine.running == 8)
            rows = list(engine._running)
        until(lambda: engine.running == 0)
        until(lambda: 499 in [line["status"] for line in lines])
    assert all(row.is_done for row in rows)
    assert min(len(row.written) for row in rows) < 400


def _head(content):
    return f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"


def gate(app, **settings):
    return Gate(app, Keys(), Metrics(), 100, **settings)


def run(app, messages, method="POST", path="/v1/x"):
    """Send a request straight to an ASGI application, and return what it sends."""
    sent, incoming = [], list(messages)

    async def receive():
        while not incoming:
            await asyncio.sleep(60)
        return incoming.pop(0)

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(app(scope, receive, send))
    return sent


async def echo(scope, receive, send):
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def test_a_body_in_parts_arrives_whole():
    parts = [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"cd", "more_body": False},
    ]
    assert run(gate(echo), parts)[-1]["body"] == b"abcd"


def test_a_body_that_does_not_arrive_is_not_waited_for():
    parts = [{"type": "http.request", "body": b"ab", "more_body": True}]
    start, body = run(gate(echo, body_seconds=0.02), parts)
    assert start["status"] == 408
    assert b"did not arrive in 0.02 seconds" in body["body"]


def test_a_client_that_leaves_before_its_body_is_there_gets_nothing():
    assert run(gate(echo), [{"type": "http.disconnect"}]) == []


def test_a_bug_is_a_clean_500_and_logged_without_its_message():
    async def broken(scope, receive, send):
        raise ValueError("SECRET")

    with records() as lines:
        start, body = run(gate(broken), [{"type": "http.request", "body": b"{}"}])
    assert start["status"] == 500
    assert "ValueError" in json.loads(body["body"])["error"]["message"]
    assert [line["event"] for line in lines] == ["a request failed", "request"]
    assert lines[0]["kind"] == "ValueError"
    assert lines[0]["where"][-1].endswith(" broken")
    assert "SECRET" not in json.dumps(lines) + body["body"].decode()


def test_a_bug_after_the_beginning_sends_no_second_one():
    async def broken(scope, receive, send):
        await echo(scope, receive, send)
        raise ValueError

    with records() as lines:
        sent = run(gate(broken), [{"type": "http.request", "body": b"{}"}])
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert lines[-1]["status"] == 200
