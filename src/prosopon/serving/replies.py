"""What is answered: the bodies of replies, in the shapes of the openai package's types."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prosopon.serving.row import Piece
from prosopon.serving.sampling import TokenChance

_BROKEN = "\ufffd"


@dataclass
class Choice:
    """One answer, as far as it has come."""

    text: str = ""
    finish: str | None = None
    tokens: int = 0  # that were written, an end token too
    chances: list[TokenChance] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        """Take the next piece."""
        self.text += piece.text
        self.finish = piece.finish
        self.tokens += piece.tokens
        self.chances += piece.chances


class ReplyFormat:
    """Writes the bodies of one request's replies.

    Args:
        id: The id of the reply.
        model: What the request calls the model.
        tokenizer: The model's.
        logprobs: Whether probabilities are reported.
    """

    kind = ""
    chunk_kind = ""

    def __init__(self, id: str, model: str, tokenizer: Any, logprobs: bool) -> None:
        self._id, self._model, self._tokenizer = id, model, tokenizer
        self._logprobs, self._created = logprobs, int(time.time())
        self._offsets: dict[int, int] = {}  # characters of every answer's tokens so far

    def whole(self, choices: Sequence[Choice], prompt_tokens: int) -> dict[str, Any]:
        """Return the body of a reply."""
        bodies = [self.choice(number, choice) for number, choice in enumerate(choices)]
        return self._head(self.kind) | {"choices": bodies, "usage": usage(choices, prompt_tokens)}

    def beginning(self, number: int) -> dict[str, Any] | None:
        """Return what opens an answer of a stream; None for nothing."""

    def piece(self, number: int, piece: Piece) -> dict[str, Any]:
        """Return a piece of a stream."""
        return self._head(self.chunk_kind) | {"choices": [self.delta(number, piece)]}

    def ending(self, choices: Sequence[Choice], prompt_tokens: int) -> dict[str, Any]:
        """Return the last piece of a stream, which counts tokens."""
        counts = usage(choices, prompt_tokens)
        return self._head(self.chunk_kind) | {"choices": [], "usage": counts}

    def choice(self, number: int, choice: Choice) -> dict[str, Any]:
        """Return one answer of a reply."""
        raise NotImplementedError

    def delta(self, number: int, piece: Piece) -> dict[str, Any]:
        """Return a piece of an answer."""
        raise NotImplementedError

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}

    def _token(self, token: int) -> str:
        text: str = self._tokenizer.decode([token])
        return text


class ChatFormat(ReplyFormat):
    """Bodies of ``/v1/chat/completions``."""

    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def choice(self, number: int, choice: Choice) -> dict[str, Any]:
        """See :meth:`ReplyFormat.choice`."""
        message = {"role": "assistant", "content": choice.text, "refusal": None}
        logs = self._content(choice.chances)
        return {
            "index": number, "message": message, "finish_reason": choice.finish, "logprobs": logs
        }  # fmt: skip

    def beginning(self, number: int) -> dict[str, Any]:
        """See :meth:`ReplyFormat.beginning`."""
        delta = {"role": "assistant", "content": ""}
        opening = {"index": number, "delta": delta, "finish_reason": None, "logprobs": None}
        return self._head(self.chunk_kind) | {"choices": [opening]}

    def delta(self, number: int, piece: Piece) -> dict[str, Any]:
        """See :meth:`ReplyFormat.delta`."""
        delta = {"content": piece.text} if piece.text else {}
        logs = self._content(piece.chances)
        return {"index": number, "delta": delta, "finish_reason": piece.finish, "logprobs": logs}

    def _content(self, chances: Iterable[TokenChance]) -> dict[str, Any] | None:
        if not self._logprobs:
            return None
        content = [
            self._entry(one.token, one.logprob)
            | {"top_logprobs": [self._entry(token, logprob) for token, logprob in one.top]}
            for one in chances
        ]
        return {"content": content, "refusal": None}

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._token(token)
        raw = None if _BROKEN in text else list(text.encode())
        return {"token": text, "logprob": max(logprob, LEAST), "bytes": raw}


class CompletionFormat(ReplyFormat):
    """Bodies of ``/v1/completions``."""

    kind = chunk_kind = "text_completion"

    def choice(self, number: int, choice: Choice) -> dict[str, Any]:
        """See :meth:`ReplyFormat.choice`."""
        return self._choice(number, choice.text, choice.finish, choice.chances)

    def delta(self, number: int, piece: Piece) -> dict[str, Any]:
        """See :meth:`ReplyFormat.delta`."""
        return self._choice(number, piece.text, piece.finish, piece.chances)

    def _choice(
        self, number: int, text: str, finish: str | None, chances: Iterable[TokenChance]
    ) -> dict[str, Any]:
        logs = self._lists(number, list(chances)) if self._logprobs else None
        return {"index": number, "text": text, "finish_reason": finish, "logprobs": logs}

    def _lists(self, number: int, chances: Sequence[TokenChance]) -> dict[str, Any]:
        tokens = [self._token(one.token) for one in chances]
        offsets = [self._offsets.get(number, 0)]
        for token in tokens:
            offsets.append(offsets[-1] + len(token))
        self._offsets[number] = offsets[-1]
        return {
            "tokens": tokens,
            "token_logprobs": [max(one.logprob, LEAST) for one in chances],
            "top_logprobs": [
                {self._token(token): max(logprob, LEAST) for token, logprob in one.top}
                for one in chances
            ],
            "text_offset": offsets[:-1],
        }


LEAST = -9999.0
"""What stands for the logarithm of nothing, which JSON does not have; openai's own choice."""


def usage(choices: Sequence[Choice], prompt_tokens: int) -> dict[str, int]:
    """Return the count of tokens; those of a prompt count once, however many answers it has."""
    written = sum(choice.tokens for choice in choices)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": written,
        "total_tokens": prompt_tokens + written,
    }
