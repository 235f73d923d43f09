"""Holding back Ctrl-C while weights and what is known about them must not fall apart."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self

_Handler = Callable[[int, FrameType | None], object]


class DeferredInterrupts:
    """A context in which SIGINT waits for :meth:`deliver` or for the end.

    Only the main thread runs signal handlers; in any other thread, or where SIGINT has no
    Python handler, this does nothing. The handler that was there stays in charge: a signal is
    handed to it late, never swallowed and never turned into something else.
    """

    def __init__(self) -> None:
        self._handler: _Handler | None = None
        self._pending: tuple[int, FrameType | None] | None = None

    def __enter__(self) -> Self:
        handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(handler):
            self._handler = handler
            # From here on no KeyboardInterrupt can come between two lines.
            signal.signal(signal.SIGINT, self._record)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            handler = signal.signal(signal.SIGINT, self._handler)
            # The handler may have installed another one when it was called; that one stays.
            if handler != self._record:
                signal.signal(signal.SIGINT, handler)
        self.deliver()

    def deliver(self) -> None:
        """Hand a waiting signal to its handler, which usually raises KeyboardInterrupt."""
        if self._pending is not None and self._handler is not None:
            pending, self._pending = self._pending, None
            self._handler(*pending)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self._pending = number, frame
