"""The engine: one thread that owns the model, and the queue of rows that wait for it.

Static batches: the oldest rows that wait are written together to their ends, then the next ones.
Nothing else ever touches the weights: personas are loaded and unloaded between two batches.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from prosopon.serving.batch import RowBatch, measure_rounding
from prosopon.serving.logs import record_failure
from prosopon.serving.refusal import Refusal, as_refusal
from prosopon.serving.row import AnswerRow
from prosopon.serving.voice import Voice

if TYPE_CHECKING:
    from prosopon.runtime import PersonaModel

FULL_PRECISION = 1e-6
"""Precision from which on rows can share a batch without changing each other's draws."""


TRUSTED = 0.25
"""Share of the error that draws allow for, up to which rounding may be for rows to share batches.

Else they are written one at a time.
"""

STOPPED = Refusal(503, "the engine does not run", "stopped")

FEW = 0.25
"""Share of a batch that rows of one voice fill, up to which those of others join them."""


class BatchReport(NamedTuple):
    """What a batch did."""

    rows: int  # at its beginning
    voices: int  # that differ
    seconds: float
    redrawn: int  # draws that were made from the row alone


class Engine:
    """Answers rows with one model.

    Args:
        wearer: The model with its personas. The engine alone uses it from :meth:`start` on.
        rows: Most rows of a batch. A model in half precision is given one: rounding would decide
            too many draws.
        queue: Most rows that wait.
        mixing: Whether rows of several voices may stand in one batch.
        observe: Called with every batch's report, from the engine's thread.
    """

    def __init__(
        self,
        wearer: PersonaModel,
        *,
        rows: int = 8,
        queue: int = 64,
        mixing: bool = True,
        observe: Callable[[BatchReport], None] = lambda report: None,
    ) -> None:
        self.wearer, self.queue_limit = wearer, queue
        dtype = next(wearer.model.parameters()).dtype
        self.row_limit = rows if torch.finfo(dtype).eps < FULL_PRECISION else 1
        experts = any(".experts." in f".{site.name}." for site in wearer.sites)
        self.mixing = mixing and self.row_limit > 1 and not experts
        self.rounding: float | None = None  # its share of the error that draws allow for
        self._observe = observe
        self._waiting: deque[AnswerRow] = deque()
        self._running: list[AnswerRow] = []
        self._orders: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._change = threading.Condition()
        self._closing: Refusal | None = None
        self._pace = 1.0  # seconds a row
        self._thread = threading.Thread(target=self._work, name="prosopon-engine", daemon=True)

    @property
    def description(self) -> str:
        """Which engine this is, in a line."""
        if self.row_limit == 1:
            return "one row at a time"
        kind = "of one or several voices" if self.mixing else "of one voice each"
        return f"static batches {kind}, at most {self.row_limit} rows, no prefix cache"

    @property
    def waiting(self) -> int:
        """How many rows wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many rows are being written."""
        return len(self._running)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def is_ready(self) -> bool:
        """Whether rows are taken."""
        return self.is_alive and self._closing is None

    def start(self) -> None:
        """Measure what rounding does here, and begin to work."""
        if self.row_limit > 1:
            self.rounding = measure_rounding(self.wearer)
            if self.rounding > TRUSTED:
                self.row_limit, self.mixing = 1, False
        if self.mixing:
            with torch.compiler.set_stance("force_eager"):
                pass  # what mixed batches need is imported, for seconds, the first time
        self._thread.start()

    def submit(self, rows: Sequence[AnswerRow]) -> None:
        """Let rows wait for their turn: all or none.

        Raises:
            Refusal: The queue is full (429), or the server stops (503).
            ProsoponError: A voice is not loaded, or cannot be worn so.
        """
        if len(rows) > self.queue_limit:
            raise Refusal(
                400,
                f"{len(rows)} answers in one request: this server lets {self.queue_limit} wait",
                "too_many_answers",
            )
        with self._change:
            if self._closing is not None:
                raise self._closing
            for voice in {row.voice for row in rows}:
                voice.outfit(self.wearer.wardrobe)
            if len(self._waiting) + len(rows) > self.queue_limit:
                wait = math.ceil(self._pace * len(self._waiting))
                raise Refusal(
                    429,
                    f"{len(self._waiting)} answers wait already; try again later",
                    "queue_full",
                    {"Retry-After": str(min(60, max(1, wait)))},
                )
            self._waiting.extend(rows)
            self._change.notify()

    def load(self, load: Callable[[PersonaModel], str]) -> Future[str]:
        """Load a persona between two batches; the future holds its name."""
        return self._order(lambda: load(self.wearer))

    def unload(self, name: str) -> Future[None]:
        """Forget a persona between two batches; rows that wait for it fail (409)."""

        def forget() -> None:
            self.wearer.unload_persona(name)
            for row in self._waiting:
                if name in row.voice.names:
                    message = f"persona {name!r} was unloaded before its turn"
                    row.fail(Refusal(409, message, "persona_unloaded"))

        return self._order(forget)

    def drain(self, grace: float) -> None:
        """Take no more rows, and fail in ``grace`` seconds (503) what is not done by then."""
        refusal = Refusal(503, "the server stops", "stopping", {"Retry-After": "5"})
        with self._change:
            self._closing = self._closing or refusal
            for row in [*self._waiting, *self._running]:
                if row.deadline > time.monotonic() + grace:
                    row.deadline, row.overdue = time.monotonic() + grace, refusal
            self._change.notify()

    def close(self, grace: float = 0.0) -> None:
        """Stop: drain, wait for the thread, and give the base model back."""
        self.drain(grace)
        if self._thread.ident is not None:
            self._thread.join()
        self.wearer.close()

    def _order(self, act: Callable[[], Any]) -> Future[Any]:
        order: Future[Any] = Future()
        with self._change:
            if self._closing is not None or not self.is_alive:
                order.set_exception(self._closing or STOPPED)
                return order
            self._orders.append((act, order))
            self._change.notify()
        return order

    def _work(self) -> None:
        try:
            while (rows := self._next()) is not None:
                if rows:
                    self._write(rows)
        except Exception as problem:
            record_failure("the engine failed", problem)
        finally:  # also after a bug nobody waits for what does not come
            with self._change:
                self._closing = end = self._closing or STOPPED
                for row in [*self._waiting, *self._running]:
                    row.fail(end)
                for _, order in self._orders:
                    order.set_exception(end)

    def _next(self) -> list[AnswerRow] | None:
        """Wait for what is next, do orders, and return the rows of a batch; None to stop."""
        with self._change:
            while not self._waiting and not self._orders:
                if self._closing is not None:
                    return None
                self._change.wait()
            while self._orders:
                act, order = self._orders.popleft()
                try:
                    order.set_result(act())
                except Exception as problem:
                    order.set_exception(problem)
            self._waiting = deque(row for row in self._waiting if row.check())
            self._running = self._choose()
            return self._running

    def _choose(self) -> list[AnswerRow]:
        """Take the oldest row from the queue, and those that go with it.

        Rows of its voice are the fastest beside it. Others join where those are few.
        """
        if not self._waiting:
            return []
        voice = self._waiting[0].voice
        chosen = [row for row in self._waiting if row.voice == voice][: self.row_limit]
        if self._mixes(voice) and len(chosen) <= self.row_limit * FEW:
            fits = {row.voice: self._mixes(row.voice) for row in self._waiting}
            others = [row for row in self._waiting if row.voice != voice and fits[row.voice]]
            chosen += others[: self.row_limit - len(chosen)]
        self._waiting = deque(row for row in self._waiting if row not in chosen)
        return chosen

    def _mixes(self, voice: Voice) -> bool:
        return self.mixing and voice.mixes(self.wearer)

    def _write(self, rows: list[AnswerRow]) -> None:
        begin = time.monotonic()
        batch = RowBatch(self.wearer, rows, crowded=self.row_limit > 1)
        try:
            batch.run(self._watch)
        except Exception as problem:
            record_failure("a batch failed", problem)
            for row in rows:
                row.fail(as_refusal(problem))
        seconds = time.monotonic() - begin
        self._pace += 0.2 * (seconds / len(rows) - self._pace)
        with self._change:
            self._running = []
        report = BatchReport(len(rows), len({row.voice for row in rows}), seconds, batch.redrawn)
        self._observe(report)

    def _watch(self) -> None:
        """Fail what waits for too long, while a batch is written."""
        with self._change:
            for row in self._waiting:
                row.check()
