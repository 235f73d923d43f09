"""A request that is refused or fails: a status, a message, and a code as the openai package."""

from collections.abc import Mapping
from typing import Any

from prosopon.errors import ProsoponError, UnknownNameError


class Refusal(ProsoponError):
    """Why a request gets no answer.

    Args:
        status: The status of HTTP.
        message: One line that names the thing and says why.
        code: A word for programs.
        headers: Headers of the reply.
    """

    def __init__(
        self, status: int, message: str, code: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return what is sent: ``{"error": {"message", "type", "param", "code"}}``."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "param": None, "code": self.code}
        return {"error": error}


def as_refusal(problem: Exception) -> Refusal:
    """Return any error as a refusal: unknown names are 404, what is the input's fault 400.

    Of a bug no more than its kind is said: its message could hold the text of a prompt.
    """
    if isinstance(problem, Refusal):
        return problem
    if isinstance(problem, UnknownNameError):
        return Refusal(404, str(problem), f"{problem.kind}_not_found")
    if isinstance(problem, ProsoponError):
        return Refusal(400, str(problem), "invalid_request")
    return Refusal(500, f"the server failed ({type(problem).__name__}); see its log", "failure")
