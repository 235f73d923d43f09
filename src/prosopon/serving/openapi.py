"""What the server says of itself in ``/openapi.json``: all statuses, kinds of bodies, and keys."""

from collections.abc import Iterator, MutableMapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import Match, Route

from prosopon.serving.access import ADMIN, OPEN
from prosopon.version import __version__

_REASONS = {
    400: "It cannot be done, or is not understood",
    401: "A key is needed, or it is not this one",
    403: "The server has no admin key",
    404: "There is no such model, persona or source",
    408: "The body did not arrive in time",
    409: "The persona was unloaded before its turn",
    413: "The body is too large",
    415: "The body must be application/json",
    421: "The server is asked by another name than this machine's",
    429: "The queue is full; Retry-After says when to come again",
    500: "The server failed",
    503: "The server stops",
    504: "The answer took too long",
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"enum": ["invalid_request_error", "server_error"]},
                "param": {"type": "null"},
                "code": {"type": "string"},
            },
        }
    },
}
_REPLY = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage"],
    "properties": {
        "id": {"type": "string"},
        "object": {"enum": ["chat.completion", "text_completion"]},
        "created": {"type": "integer"},
        "model": {"type": "string"},
        "choices": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "usage": {"type": "object"},
    },
}
_ANSWERED = {"application/json": {"schema": _REPLY}, "text/event-stream": {}}
_COUNTS = {"text/plain": {"schema": {"type": "string"}}}
_KEY = {"type": "http", "scheme": "bearer"}


class DescribedAPI(FastAPI):
    """An application whose description states what it answers.

    Args:
        protects: Whether asking needs a key.
    """

    def __init__(self, protects: bool) -> None:
        super().__init__(title="prosopon", version=__version__, docs_url=None, redoc_url=None)
        self._protects = protects

    def openapi(self) -> dict[str, Any]:
        """Return the description, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = self._describe()
        return self.openapi_schema

    def methods(self, scope: MutableMapping[str, Any]) -> set[str]:
        """Return the methods that there are routes for at a path; none where there is no route."""
        return {
            method
            for route in self.routes
            if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE
            for method in route.methods or ()
        }

    def _describe(self) -> dict[str, Any]:
        described = get_openapi(title=self.title, version=self.version, routes=self.routes)
        parts = described["components"]
        for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own; ours are 400
            del parts["schemas"][name]
        parts["schemas"]["Error"] = _ERROR
        parts["securitySchemes"] = {"user": _KEY, "admin": _KEY}
        error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        for path, operations in described["paths"].items():
            for method, operation in operations.items():
                responses = operation["responses"]
                responses.pop("422", None)
                for status in _refusals(path, method):
                    responses[str(status)] = {"description": _REASONS[status], "content": error}
                if path.endswith("/completions"):
                    responses["200"]["content"] = _ANSWERED
                elif path == "/metrics":
                    responses["200"]["content"] = _COUNTS
                elif path in OPEN:  # the body is the same one, whether or not it lives
                    responses["503"] = responses["200"] | {"description": _REASONS[503]}
                if path.startswith(ADMIN):
                    operation["security"] = [{"admin": []}]
                elif self._protects and path not in OPEN:
                    operation["security"] = [{"user": []}, {"admin": []}]
        return described


def _refusals(path: str, method: str) -> Iterator[int]:
    """Yield the statuses with which a route may refuse."""
    yield from (421, 500)
    if path not in OPEN:
        yield 401
    if method == "post":
        yield from (400, 404, 408, 413, 415)
    if "{" in path:
        yield 404
    if path.startswith(ADMIN):
        yield 403
        if method != "get":
            yield 503
    if path.endswith("/completions"):
        yield from (409, 429, 503, 504)
