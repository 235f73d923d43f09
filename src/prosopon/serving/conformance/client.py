"""An OpenAI-compatible server, asked over HTTP with nothing but the standard library."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from prosopon.errors import OptionError, ProsoponError

TOP = 5
"""Likeliest tokens that are asked for beside every token."""

ROUTES = {"chat": "/chat/completions", "completions": "/completions"}
"""Ways to ask, and their paths below ``/v1``."""


class ServerError(ProsoponError):
    """A server that refuses, fails, or cannot be reached.

    Args:
        message: One line.
        status: The status of HTTP; None where nothing came back.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_refusal(self) -> bool:
        """Whether the server answered that it does not do this."""
        return self.status is not None and 400 <= self.status < 500


class ScoredToken(NamedTuple):
    """A token of a reply, and how likely it was."""

    text: str
    logprob: float  # natural logarithm
    top: Mapping[str, float]  # the likeliest in its place, by text


class Reply(NamedTuple):
    """What came back."""

    text: str
    finish: str | None = None  # ``stop``, ``length``
    tokens: tuple[ScoredToken, ...] = ()  # none where the server gives no log probabilities


class ModelServer:
    """A server.

    Args:
        url: Its address, with or without ``/v1``.
        key: Sent as a bearer token; None sends nothing.
        timeout: Seconds that an answer may take; as long a busy server (429) is asked again.

    Attributes:
        route: How it is asked, one of :data:`ROUTES`.
        scored: Whether log probabilities are asked for.

    Raises:
        OptionError: The address is not one of HTTP.
    """

    def __init__(self, url: str, key: str | None = None, timeout: float = 120.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise OptionError(f"server's address {url!r}: it begins with http:// or https://")
        self.root = url.rstrip("/").removesuffix("/v1")
        self.route, self.scored = "chat", True
        self._key, self._timeout = key, timeout

    def models(self) -> list[str]:
        """Return the names that the server lists.

        Raises:
            ServerError: It cannot be reached, refuses, or answers something else.
        """
        body = self.call("GET", "/v1/models")
        try:
            return [str(card["id"]) for card in body["data"]]
        except (KeyError, TypeError):
            raise ServerError(f"{self.root}/v1/models: not a list of models") from None

    def ask(
        self, model: str, text: str, *, max_tokens: int, seed: int | None = None,
        stream: bool = False,
    ) -> Reply:  # fmt: skip
        """Ask as a user; greedily without a seed, at temperature 1 with one.

        Raises:
            ServerError: It refuses, fails, or answers something else.
        """
        body: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "temperature": 0.0}
        if seed is not None:
            body |= {"temperature": 1.0, "seed": seed}
        if self.route == "chat":
            body["messages"] = [{"role": "user", "content": text}]
            body |= {"logprobs": True, "top_logprobs": TOP} if self.scored else {}
        else:
            body |= {"prompt": text} | ({"logprobs": TOP} if self.scored else {})
        path = "/v1" + ROUTES[self.route]
        if not stream:
            return self._read([self.call("POST", path, body)])
        with self._open("POST", path, body | {"stream": True}, self._key) as lines:
            return self._read(list(_events(lines)))

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Any:
        """Return what a route answers, read as JSON; a text where it is none.

        Raises:
            ServerError: It cannot be reached, or the status is not one of success.
        """
        with self._open(method, path, body, key or self._key) as lines:
            text = b"".join(lines).decode("utf-8", "replace")
        try:
            return json.loads(text)
        except ValueError:
            return text

    @contextmanager
    def _open(
        self, method: str, path: str, body: Mapping[str, Any] | None, key: str | None
    ) -> Iterator[Iterator[bytes]]:
        """Yield the lines of an answer; a busy server is asked again."""
        url = self.root + path
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                request = Request(url, data, headers, method=method)
                with urlopen(request, timeout=self._timeout) as response:
                    yield response
                return
            except HTTPError as problem:
                with problem:
                    said = " ".join(problem.read().decode("utf-8", "replace").split())[:300]
                if problem.code != 429 or time.monotonic() > deadline:
                    raise ServerError(
                        f"{url}: status {problem.code}: {said}", problem.code
                    ) from None
                time.sleep(_wait(problem.headers.get("Retry-After")))
            except (OSError, HTTPException) as problem:
                raise ServerError(f"{url}: {getattr(problem, 'reason', problem)}") from None

    def _read(self, bodies: list[Any]) -> Reply:
        """Put the pieces of an answer together; a whole one is the only piece."""
        text, finish, tokens = "", None, list[ScoredToken]()
        try:
            for choice in (choice for body in bodies for choice in body["choices"][:1]):
                part = choice.get("message") or choice.get("delta") or {}
                text += choice.get("text") or part.get("content") or ""
                finish = choice.get("finish_reason") or finish
                tokens += _tokens(choice.get("logprobs") or {})
        except (KeyError, TypeError, AttributeError, IndexError):
            said = json.dumps(bodies)[:200]
            raise ServerError(f"{self.root}: no answer of a chat or completion: {said}") from None
        return Reply(text, finish, tuple(tokens))


def choose_route(server: ModelServer, model: str, report: Callable[[str], None]) -> None:
    """Find out how a server can be asked: chat or completions, with log probabilities or not.

    Args:
        server: Its ``route`` and ``scored`` are set.
        model: Whom to ask.
        report: Called with what it lacks.

    Raises:
        ServerError: It answers in no way.
    """
    problem: ServerError | None = None
    for server.scored in (True, False):
        for server.route in ROUTES:
            try:
                reply = server.ask(model, "Hello", max_tokens=2)
            except ServerError as refusal:
                if not refusal.is_refusal:
                    raise
                problem = problem or refusal
                continue
            server.scored = bool(reply.tokens)
            if not server.scored:
                report(
                    "the server gives no log probabilities: rounding cannot be told from a leak, "
                    "and only texts are compared"
                )
            return
    assert problem is not None
    raise problem


def _events(lines: Iterator[bytes]) -> Iterator[Any]:
    """Yield the objects of an event stream."""
    for line in lines:
        if line.startswith(b"data:") and (data := line[5:].strip()) != b"[DONE]":
            event = json.loads(data)
            if "error" in event:
                raise ServerError(f"a stream ended with an error: {event['error']}", 500)
            yield event


def _tokens(logs: Mapping[str, Any]) -> list[ScoredToken]:
    """Read the log probabilities of a chat or of a completion."""
    if "content" in logs:
        return [
            ScoredToken(
                one["token"],
                one["logprob"],
                _first((top["token"], top["logprob"]) for top in one.get("top_logprobs") or ()),
            )
            for one in logs["content"] or ()
        ]
    columns = (logs.get(name) or () for name in ("tokens", "token_logprobs", "top_logprobs"))
    rows = zip(*columns, strict=False)
    return [ScoredToken(text, logprob, _first(top.items())) for text, logprob, top in rows]


def _first(pairs: Any) -> dict[str, float]:
    """Return values by text; of tokens that look alike the likeliest."""
    values: dict[str, float] = {}
    for text, value in pairs:
        values[text] = max(value, values.get(text, value))
    return values


def _wait(retry_after: str | None) -> float:
    """Return how long to wait for a busy server: it says whole seconds, which are long here."""
    try:
        return min(1.0, 0.2 * float(retry_after or 1))
    except ValueError:  # a date
        return 1.0
