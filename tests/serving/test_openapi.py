"""The server's description of itself, held against what it answers; and types that are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from prosopon.serving.app import make_app
from prosopon.serving.openapi import DescribedAPI
from prosopon.serving.schemas import ChatBody, CompletionBody, LoadBody
from prosopon.serving.service import Service
from tests.serving.samples import HTTP

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
GO_ON = {"model": "tiny", "prompt": "Hi", "max_tokens": 2}


@pytest.fixture(scope="module")
def described(live):
    return HTTP.get(f"{live.url}/openapi.json").json()


def test_every_route_is_described(described):
    assert {path: sorted(methods) for path, methods in described["paths"].items()} == {
        "/health": ["get"],
        "/ready": ["get"],
        "/metrics": ["get"],
        "/v1/models": ["get"],
        "/v1/models/{model}": ["get"],
        "/v1/chat/completions": ["post"],
        "/v1/completions": ["post"],
        "/admin/personas": ["get", "post"],
        "/admin/personas/{name}": ["delete"],
    }


@pytest.mark.parametrize(
    ("method", "path", "settings", "status"),
    [
        ("get", "/health", {}, 200),
        ("get", "/ready", {}, 200),
        ("get", "/metrics", {}, 200),
        ("get", "/v1/models", {}, 200),
        ("get", "/v1/models", {"headers": {"Host": "evil.example"}}, 421),
        ("get", "/v1/models/{model}", {}, 404),
        ("post", "/v1/chat/completions", {"json": CHAT}, 200),
        ("post", "/v1/chat/completions", {"json": CHAT | {"stream": True}}, 200),
        ("post", "/v1/chat/completions", {"json": CHAT | {"n": 0}}, 400),
        ("post", "/v1/chat/completions", {"json": CHAT | {"model": "tiny:zz"}}, 404),
        ("post", "/v1/chat/completions", {"data": {"a": "b"}}, 415),
        ("post", "/v1/completions", {"json": GO_ON}, 200),
        ("post", "/v1/completions", {"json": GO_ON | {"persona": {"name": "zz"}}}, 404),
        ("post", "/v1/completions", {"json": "x" * (1 << 20)}, 413),
        ("get", "/admin/personas", {}, 403),
        ("post", "/admin/personas", {"json": {"source": "x"}}, 403),
        ("delete", "/admin/personas/{name}", {}, 403),
    ],
)
def test_what_is_answered_is_described(live, described, method, path, settings, status):
    reply = HTTP.request(method, live.url + path.format(model="zz", name="zz"), **settings)
    assert reply.status_code == status
    responses = described["paths"][path][method]["responses"]
    kind = reply.headers["Content-Type"].split(";")[0]
    schema = responses[str(status)]["content"][kind].get("schema")
    if status >= 400:
        assert schema == {"$ref": "#/components/schemas/Error"}
        error = described["components"]["schemas"]["Error"]["properties"]["error"]
        assert list(reply.json()["error"]) == error["required"]
        assert reply.json()["error"]["type"] in error["properties"]["type"]["enum"]
    elif kind == "application/json" and method == "post":
        assert set(schema["required"]) == set(reply.json())
        assert reply.json()["object"] in schema["properties"]["object"]["enum"]


def test_what_the_framework_would_answer_is_not_described(described):
    for operations in described["paths"].values():
        for operation in operations.values():
            assert "422" not in operation["responses"]
            assert "500" in operation["responses"]
    assert "ValidationError" not in str(described)


def test_keys_are_described_where_they_are_asked_for(attached):
    service = Service(attached, "tiny")
    for protects in (False, True):
        paths = make_app(service, protects).openapi()["paths"]
        assert paths["/admin/personas"]["get"]["security"] == [{"admin": []}]
        assert "security" not in paths["/health"]["get"]
        asked = paths["/v1/models"]["get"].get("security")
        assert asked == ([{"user": []}, {"admin": []}] if protects else None)
    service.engine.close()


def test_the_description_is_made_once(attached):
    service = Service(attached, "tiny")
    app = make_app(service)
    assert isinstance(app, DescribedAPI)
    assert app.openapi() is app.openapi()
    service.engine.close()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/health", "GET"),
        ("POST", "/v1/models/tiny", "GET"),
        ("PUT", "/v1/completions", "POST"),
        ("TRACE", "/v1/models", "GET"),
    ],
)
def test_another_method_is_a_405_that_names_those_there_are(live, method, path, allowed):
    reply = HTTP.request(method, live.url + path)
    assert (reply.status_code, reply.headers["Allow"]) == (405, allowed)
    assert reply.json()["error"]["code"] == "method_not_allowed"


def test_all_methods_of_a_path_are_known(attached):
    service = Service(attached, "tiny")
    app = make_app(service)
    scope = {"type": "http", "path": "/admin/personas", "method": "OPTIONS"}
    assert app.methods(scope) == {"GET", "POST"}
    assert app.methods(scope | {"path": "/nothing"}) == set()
    service.engine.close()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", "2"), ("max_tokens", 2.5), ("max_tokens", True), ("temperature", "1"),
        ("stream", "true"), ("stream", 1), ("seed", True), ("echo", 0), ("echo", True),
        ("best_of", True), ("best_of", 2), ("suffix", 0), ("prompt", [True]), ("prompt", 5),
        ("persona", 5), ("persona", {"name": 5}), ("persona", {"blend": {"bold": "1"}}),
    ],
)  # fmt: skip
def test_another_type_is_refused_and_never_taken_for_the_right_one(field, value):
    with pytest.raises(ValidationError, match=field):
        CompletionBody.model_validate(GO_ON | {field: value})


def test_right_types_pass():
    body = GO_ON | {"temperature": 1, "echo": False, "best_of": 1, "suffix": "", "persona": "bold"}
    assert CompletionBody.model_validate(body).persona.name == "bold"
    assert ChatBody.model_validate(CHAT | {"store": False}).store is False
    with pytest.raises(ValidationError, match="store"):
        ChatBody.model_validate(CHAT | {"store": 0})


def test_a_persona_needs_a_name():
    with pytest.raises(ValidationError, match="name"):
        LoadBody(source="bold", name="")
