"""What every request passes before a route sees it: keys, sizes, times; and what is logged of it.

Plain ASGI, so that nothing is read of a request that is refused.
"""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prosopon.serving.access import OPEN, Keys, check_local, check_origin, is_page
from prosopon.serving.logs import record, record_failure
from prosopon.serving.metrics import Metrics
from prosopon.serving.refusal import Refusal, as_refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CLIENT_GONE = 499
"""The status that is logged where the client did not wait for one."""


class Gate:
    """Checks and logs the requests of an application.

    Args:
        app: The application.
        keys: Who may.
        metrics: Where requests are counted.
        body_bytes: Largest body.
        body_seconds: Longest time for a body to arrive.
        local: Whether only requests to a loopback name pass.
        methods: The methods that the application knows at a request's path.
        page: Whether there is a page, which checks keys itself and takes forms and files.
    """

    def __init__(
        self, app: App, keys: Keys, metrics: Metrics, body_bytes: int, body_seconds: float = 30.0,
        local: bool = False, page: bool = False,
        methods: Callable[[Scope], set[str]] = lambda scope: set(),
    ) -> None:  # fmt: skip
        self._app, self._keys, self._metrics = app, keys, metrics
        self._local, self._page, self._methods = local, page, methods
        self._bytes, self._seconds = body_bytes, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.monotonic(), 0
        notes: dict[str, Any] = {"id": f"req-{uuid.uuid4().hex}"}
        scope.setdefault("state", {})["notes"] = notes

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", notes["id"].encode())]
                message["headers"] = headers
            await send(message)

        try:
            await self._pass(scope, receive, note_status)
        except Exception as problem:
            if not isinstance(problem, Refusal):
                record_failure("a request failed", problem)
            if not status:
                await _refuse(as_refusal(problem), note_status)
        finally:
            status = notes.pop("status", status or CLIENT_GONE)
            self._report(scope, status, time.monotonic() - begin, notes)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = headers.get(b"host", b"").decode("latin-1")
        if self._local:
            check_local(host)
        page = self._page and is_page(scope["path"])
        if not page:
            authorization = headers.get(b"authorization")
            self._keys.check(scope["path"], authorization and authorization.decode("latin-1"))
        # Where there are routes, but none that takes a body, the application refuses by itself.
        methods = {"POST"} if page else self._methods(scope)
        if scope["method"] == "POST" and "POST" in (methods or {"POST"}):
            kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
            if page:
                origin = headers.get(b"origin")
                check_origin(origin and origin.decode("latin-1"), host)
            elif kind != b"application/json":
                # A page of another site can send other kinds without being asked for leave.
                raise Refusal(415, "the body must be application/json", "wrong_content_type")
            body = await self._read(headers.get(b"content-length"), receive)
            if body is None:
                return
            receive = _again(body, receive)
        await self._app(scope, receive, send)

    async def _read(self, length: bytes | None, receive: Receive) -> bytes | None:
        """Return the body; None if the client goes away."""
        if length is not None and (not length.isdigit() or int(length) > self._bytes):
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self._bytes:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            late = f"the body did not arrive in {self._seconds:g} seconds"
            raise Refusal(408, late, "body_timeout", {"Connection": "close"}) from None

    def _too_large(self) -> Refusal:
        message = f"the body is larger than {self._bytes} bytes"
        return Refusal(413, message, "body_too_large", {"Connection": "close"})

    def _report(self, scope: Scope, status: int, seconds: float, notes: dict[str, Any]) -> None:
        """Count a request and log it: never its text."""
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        is_quiet = route in (*OPEN, "/metrics") or (self._page and is_page(scope["path"]))
        level = logging.DEBUG if is_quiet else logging.INFO
        record("request", level, route=route, status=status, seconds=round(seconds, 4), **notes)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read already, and then what comes after it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = json.dumps(refusal.body()).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    pairs = [
        (name.lower().encode(), value.encode())
        for name, value in (headers | refusal.headers).items()
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
