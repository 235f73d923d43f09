"""One question to an OpenAI-compatible chat endpoint, asked again while it is busy."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from prosopon.errors import JudgeError, OptionError

KEY = "PROSOPON_JUDGE_KEY"
"""Environment variable with the key, sent as a bearer token; nothing is sent where it is unset."""

LONGEST_WAIT = 60.0
"""Seconds; whatever a busy endpoint asks for."""


class ChatEndpoint:
    """A chat model behind HTTP.

    Args:
        url: Base address, ``http://host:8000/v1``; ``/chat/completions`` is added if missing.
        model: Name of the model there.
        timeout: Seconds without an answer after which it is asked again.
        retries: How often it is asked again after status 429 or 5xx, a timeout, or a
            connection that breaks.
        backoff: Seconds before the first time; doubles each time. ``Retry-After`` comes first.
        role: What the chat model is here, for messages.
        key: Environment variable with the key.

    Raises:
        OptionError: The address is not one of HTTP, or a number is out of range.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        timeout: float = 60,
        retries: int = 5,
        backoff: float = 1.0,
        role: str = "judge",
        key: str = KEY,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise OptionError(f"{role}'s address {url!r}: it begins with http:// or https://")
        if not model:
            raise OptionError(f"a {role} needs the name of its model")
        if timeout <= 0 or retries < 0 or backoff < 0:
            raise OptionError("timeout is above 0, retries and backoff are at least 0")
        end = "/chat/completions"
        base = url.rstrip("/")
        self.url = base if base.endswith(end) else base + end
        self.model, self._role, self._key = model, role, key
        self._timeout, self._retries, self._backoff = timeout, retries, backoff
        # A redirect would carry the key to another place.
        self._opener = build_opener(_NoRedirect())

    def ask(self, messages: Sequence[Mapping[str, str]], **body: Any) -> str:
        """Return what the model answers at temperature 0.

        Args:
            messages: The conversation.
            body: More of the request, such as another ``temperature``.

        Raises:
            JudgeError: It does not answer, refuses, or what comes back is not a chat completion.
        """
        body = {"model": self.model, "messages": list(messages), "temperature": 0} | body
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self._key):
            headers["Authorization"] = f"Bearer {key}"
        request = Request(self.url, json.dumps(body).encode(), headers, method="POST")
        for attempt in range(self._retries + 1):
            try:
                with self._opener.open(request, timeout=self._timeout) as response:
                    return self._content(response.read())
            except HTTPError as error:
                with error:
                    said = _shown(error.read())
                reason, retry_after = (
                    f"status {error.code}: {said}",
                    error.headers.get("Retry-After"),
                )
                if error.code != 429 and error.code < 500:
                    raise JudgeError(f"{self._role} {self.url}: {reason}") from None
            except (OSError, HTTPException) as error:
                reason, retry_after = _reason(error), None
                if not _passes(error):
                    raise JudgeError(f"{self._role} {self.url}: {reason}") from error
            if attempt < self._retries:
                time.sleep(_wait(retry_after, self._backoff * 2**attempt))
        raise JudgeError(f"{self._role} {self.url}: asked {self._retries + 1} times; {reason}")

    def _content(self, body: bytes) -> str:
        try:
            content = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError):
            content = None
        if not isinstance(content, str):
            raise JudgeError(f"{self._role} {self.url}: not a chat completion: {_shown(body)}")
        return content


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _passes(error: Exception) -> bool:
    """Tell whether asking again may help: nobody listening at the address does not pass."""
    cause = error.reason if isinstance(error, URLError) else error
    return isinstance(cause, TimeoutError | ConnectionResetError | HTTPException)


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    return "no answer in time" if isinstance(cause, TimeoutError) else str(cause) or repr(cause)


def _wait(retry_after: str | None, otherwise: float) -> float:
    try:
        return min(max(float(retry_after or otherwise), 0.0), LONGEST_WAIT)
    except ValueError:  # a date
        return min(otherwise, LONGEST_WAIT)


def _shown(body: bytes) -> str:
    text = " ".join(body.decode("utf-8", "replace").split())
    return repr(text if len(text) <= 200 else f"{text[:200]}...")
