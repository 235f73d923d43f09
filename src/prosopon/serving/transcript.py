"""The text of a row while it is written: pieces that are final, and where a stop string ends it."""

from collections.abc import Sequence
from typing import Any

_UNFINISHED = "\ufffd"  # what a tokenizer makes of the first bytes of a character


class Transcript:
    """Turns tokens into pieces of text; what may still change or become a stop waits.

    Joined, the pieces are the text up to the first stop string, which is not a part of it.

    Args:
        tokenizer: The model's.
        stops: Strings that end the text.
        before: The token before the text, so that a space at its beginning is seen; None to trim
            white space at both ends, as answers of a chat are.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str], before: int | None) -> None:
        self._tokenizer, self._stops, self._before = tokenizer, tuple(stops), before
        self._tokens: list[int] = []
        self._shown = ""
        self.stopped = False  # whether a stop string was written

    def push(self, token: int) -> str:
        """Take the next token, and return the text that is final now."""
        self._tokens.append(token)
        text = self._cut(self._decode())
        if not self.stopped:
            if text.endswith(_UNFINISHED):
                return ""
            text = text[: len(text) - _held_back(text, self._stops)]
        return self._show(text)

    def end(self) -> str:
        """Return the rest of the text: no token comes any more."""
        return self._show(self._cut(self._decode()))

    def _show(self, text: str) -> str:
        text = text.strip() if self._before is None else text
        if not text.startswith(self._shown):  # a later token changed what stood there
            return ""
        piece, self._shown = text[len(self._shown) :], text
        return piece

    def _cut(self, text: str) -> str:
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        self.stopped = bool(places)
        return text[: min(places)] if places else text

    def _decode(self) -> str:
        if self._before is not None:
            start = self._text([self._before])
            whole = self._text([self._before, *self._tokens])
            if start and whole.startswith(start):
                return whole[len(start) :]
        return self._text(self._tokens)

    def _text(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text


def _held_back(text: str, stops: Sequence[str]) -> int:
    """Return the length of the longest end of a text that begins a stop string."""
    longest = max(map(len, stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
