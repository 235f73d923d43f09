"""The rows of one request, seen from the event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from prosopon.serving.refusal import Refusal
from prosopon.serving.replies import Choice
from prosopon.serving.row import AnswerRow, DrawSettings, Piece
from prosopon.serving.voice import Voice

Event = tuple[int, Piece | Refusal]


class Work:
    """What a request waits for: its rows, and the pieces that come out of the engine's thread.

    Must be made in the event loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self.rows: list[AnswerRow] = []
        self.choices: list[Choice] = []

    def add(self, voice: Voice, prompt: Sequence[int], settings: DrawSettings) -> AnswerRow:
        """Add a row; from any thread."""
        row = AnswerRow(voice, prompt, settings, partial(self._put, len(self.rows)))
        self.rows.append(row)
        self.choices.append(Choice())
        return row

    async def pieces(self) -> AsyncIterator[tuple[int, Piece]]:
        """Yield the pieces of all rows as they come, with the row's number, to the last.

        Raises:
            Refusal: A row failed; the others are cancelled.
        """
        left = len(self.rows)
        while left:
            number, event = await self._events.get()
            if isinstance(event, Refusal):
                self.cancel()
                raise event
            self.choices[number].add(event)
            left -= event.finish is not None
            yield number, event

    async def finish(self, pieces: AsyncIterator[tuple[int, Piece]]) -> None:
        """Wait for the rest of the pieces; the texts are in :attr:`choices`."""
        async for _ in pieces:
            pass

    def cancel(self) -> None:
        """Tell the engine that nobody waits any more."""
        for row in self.rows:
            row.is_cancelled = True

    def _put(self, number: int, event: Piece | Refusal) -> None:
        put: Callable[[Event], None] = self._events.put_nowait
        try:
            self._loop.call_soon_threadsafe(put, (number, event))
        except RuntimeError:  # the loop has ended, and nobody waits
            self.cancel()
