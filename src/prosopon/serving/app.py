"""The application: routes of the openai package, of administrators, and of whoever watches."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from prosopon.errors import ProsoponError, UnknownNameError
from prosopon.serving.gate import CLIENT_GONE
from prosopon.serving.openapi import DescribedAPI
from prosopon.serving.refusal import Refusal, as_refusal
from prosopon.serving.replies import ChatFormat, CompletionFormat, ReplyFormat
from prosopon.serving.schemas import ChatBody, CompletionBody, Generation, LoadBody
from prosopon.serving.service import Service
from prosopon.serving.work import Work
from prosopon.version import __version__

T = TypeVar("T")
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def make_app(service: Service, protects: bool = False) -> DescribedAPI:
    """Return the application of a service whose engine runs.

    Args:
        service: What the routes ask.
        protects: Whether its description says that asking needs a key.
    """
    app = DescribedAPI(protects)
    _add_errors(app)
    _add_health(app, service)
    _add_openai(app, service)
    _add_admin(app, service)
    return app


def _add_openai(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        """List the base and every persona."""
        return {"object": "list", "data": service.models()}

    @app.get("/v1/models/{model:path}")
    def model(model: str) -> dict[str, Any]:
        """Describe one of them."""
        cards = {card["id"]: card for card in service.models()}
        if model not in cards:
            raise UnknownNameError("model", model, cards)
        return cards[model]

    @app.post("/v1/chat/completions")
    async def chat(body: ChatBody, request: Request) -> Response:
        """Answer a conversation."""
        work = Work()
        form = ChatFormat(
            _id("chatcmpl", request), body.model, service.tokenizer, bool(body.logprobs)
        )
        return await _answer(service, body, request, work, form, lambda: service.chat(body, work))

    @app.post("/v1/completions")
    async def complete(body: CompletionBody, request: Request) -> Response:
        """Go on from a text."""
        work = Work()
        form = CompletionFormat(
            _id("cmpl", request), body.model, service.tokenizer, body.logprobs is not None
        )
        return await _answer(
            service, body, request, work, form, lambda: service.complete(body, work)
        )


async def _answer(
    service: Service, body: Generation, request: Request, work: Work, form: ReplyFormat,
    queue: Callable[[], None],
) -> Response:  # fmt: skip
    """Queue a request's rows and answer with what they write, whole or as a stream."""
    await run_in_threadpool(queue)
    prompt_tokens = sum(len(row.prompt) for row in work.rows[:: body.n or 1])
    notes = request.state.notes
    notes |= {"persona": work.rows[0].voice.title, "rows": len(work.rows)}
    notes |= {"prompt_tokens": prompt_tokens, "streamed": bool(body.stream)}

    def end() -> None:
        work.cancel()
        notes["completion_tokens"] = sum(choice.tokens for choice in work.choices)
        service.metrics.observe_work(work, prompt_tokens)

    pieces = work.pieces()
    try:
        # A refusal before the first piece has a status of its own, in a stream too.
        first = await _unless_gone(request, anext(pieces))
        service.metrics.observe_first(work)
        if not body.stream:
            await _unless_gone(request, work.finish(pieces))
    except BaseException:
        end()
        raise
    if not body.stream:
        end()
        return JSONResponse(form.whole(work.choices, prompt_tokens))

    async def events() -> AsyncIterator[str]:
        try:
            for number in range(len(work.rows)):
                if (opening := form.beginning(number)) is not None:
                    yield _event(opening)
            yield _event(form.piece(*first))
            async for number, piece in pieces:
                yield _event(form.piece(number, piece))
            if body.shows_usage:
                yield _event(form.ending(work.choices, prompt_tokens))
            yield "data: [DONE]\n\n"
        except Refusal as refusal:
            notes["status"] = refusal.status
            yield _event(refusal.body())

    return _Stream(events(), work, notes, end)


class _Stream(StreamingResponse):
    """A stream that ends its work, also where the client went away before the first byte."""

    def __init__(
        self, events: AsyncIterator[str], work: Work, notes: dict[str, Any], end: Callable[[], None]
    ) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._work, self._notes, self._end = work, notes, end

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if any(choice.finish is None for choice in self._work.choices):
                self._notes.setdefault("status", CLIENT_GONE)
            self._end()


async def _unless_gone(request: Request, answer: Awaitable[T]) -> T:
    """Wait for an answer, unless the client goes away before it comes."""
    task, gone = asyncio.ensure_future(answer), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Refusal(CLIENT_GONE, "the client has gone", "client_gone")
        return await task
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"


def _id(kind: str, request: Request) -> str:
    id: str = request.state.notes["id"]
    return id.replace("req", kind, 1)


def _add_admin(app: FastAPI, service: Service) -> None:
    @app.get("/admin/personas")
    def personas() -> dict[str, Any]:
        """List what is loaded, what could be, and what could not."""
        sources = service.shelf.sources if service.shelf else []
        return {"loaded": service.personas, "sources": sources, "skipped": service.skipped}

    @app.post("/admin/personas", status_code=201)
    def load(body: LoadBody) -> dict[str, Any]:
        """Load personas."""
        return {"loaded": service.load(body.source, body.name)}

    @app.delete("/admin/personas/{name:path}")
    def unload(name: str) -> dict[str, Any]:
        """Unload a persona."""
        service.unload(name)
        return {"unloaded": name}


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    def health() -> Response:
        """Say whether the engine lives, and which one it is."""
        engine = service.engine
        body = {
            "status": "ok" if engine.is_alive else "dead",
            "model": service.name,
            "engine": engine.description,
            "fallback": engine.fallback,
            "prefix_hit_rate": engine.prefix_hit_rate,
            "rounding": engine.rounding,
            "waiting": engine.waiting,
            "running": engine.running,
            "personas": len(service.personas),
            "version": __version__,
        }
        return JSONResponse(body, 200 if engine.is_alive else 503)

    @app.get("/ready")
    def ready() -> Response:
        """Say whether requests are taken."""
        is_ready = service.engine.is_ready
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    @app.get("/metrics")
    def metrics() -> Response:
        """Count for Prometheus."""
        return Response(service.metrics.text(), media_type=_TEXT)


def _add_errors(app: DescribedAPI) -> None:
    def reply(refusal: Refusal) -> Response:
        return JSONResponse(refusal.body(), refusal.status, refusal.headers)

    @app.exception_handler(ProsoponError)
    def refused(request: Request, problem: ProsoponError) -> Response:
        return reply(as_refusal(problem))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, problem: RequestValidationError) -> Response:
        # Of a field that may have several forms, what came furthest says the most.
        first = max(problem.errors(), key=lambda one: len(one["loc"]))
        parts = [str(part) for part in first["loc"][1:]]
        place = ".".join(part for part in parts if part.isidentifier()) or "body"
        return reply(Refusal(400, f"{place}: {first['msg']}", "invalid_request"))

    @app.exception_handler(HTTPException)
    def http(request: Request, problem: HTTPException) -> Response:
        code = str(problem.detail).lower().replace(" ", "_")
        headers = dict(problem.headers or {})
        if "Allow" in headers:  # Starlette knows those of one route only
            headers["Allow"] = ", ".join(sorted(app.methods(request.scope)))
        return reply(Refusal(problem.status_code, str(problem.detail), code, headers))

    @app.exception_handler(Exception)
    def failed(request: Request, problem: Exception) -> Response:
        return reply(as_refusal(problem))
