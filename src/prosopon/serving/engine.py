"""The engine: one thread that owns the model, and the queue of rows that wait for it.

Continuous: rows join as soon as there is a place, whatever they wear, and leave when they end.
Static: the oldest rows that wait are written together to their ends, then the next ones; a
continuous engine writes so what it cannot take. Nothing else ever touches the weights: personas
are loaded and unloaded between two steps or batches.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import torch

from prosopon.errors import OptionError
from prosopon.serving.batch import RowBatch, measure_rounding
from prosopon.serving.logs import record_failure
from prosopon.serving.packed_batch import PackedBatch
from prosopon.serving.pages import EngineError, Pages, page_tokens
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


EngineKind = Literal["auto", "continuous", "static"]
"""``auto`` is continuous where that can be used, else static."""


class BatchReport(NamedTuple):
    """What a batch, or a step of the continuous one, did."""

    rows: int  # at its beginning
    voices: int  # that differ
    seconds: float
    redrawn: int  # draws that were made from the row alone
    prompt_tokens: int = 0  # tokens of prompts that were looked for among those read before
    shared: int = 0  # tokens that were there


class Engine:
    """Answers rows with one model.

    Args:
        wearer: The model with its personas. The engine alone uses it from :meth:`start` on.
        rows: Most rows of a batch. A model in half precision is given one: rounding would decide
            too many draws.
        queue: Most rows that wait.
        mixing: Whether rows of several voices may stand in one batch.
        kind: Which engine; ``continuous`` is refused at the start where it cannot be used.
        cache_tokens: Tokens whose keys and values a continuous engine keeps.
        observe: Called with every batch's report, from the engine's thread.

    Raises:
        OptionError: An unknown kind.
    """

    def __init__(
        self,
        wearer: PersonaModel,
        *,
        rows: int = 8,
        queue: int = 64,
        mixing: bool = True,
        kind: EngineKind = "static",
        cache_tokens: int | None = None,
        observe: Callable[[BatchReport], None] = lambda report: None,
    ) -> None:
        if kind not in get_args(EngineKind):
            choices = ", ".join(get_args(EngineKind))
            raise OptionError(f"unknown engine {kind!r}. Choices: {choices}")
        self.wearer, self.queue_limit, self.kind = wearer, queue, kind
        dtype = next(wearer.model.parameters()).dtype
        self.row_limit = rows if torch.finfo(dtype).eps < FULL_PRECISION else 1
        experts = any(".experts." in f".{site.name}." for site in wearer.sites)
        self.mixing = mixing and self.row_limit > 1 and not experts
        self.rounding: float | None = None  # its share of the error that draws allow for
        self.fallback: str | None = None  # why a continuous engine is not used
        self.prompt_tokens = self.shared = 0  # tokens of prompts, and those that were read before
        self._cache_tokens = cache_tokens
        self._packed: PackedBatch | None = None
        self._busy = 0.0  # seconds of steps since a row ended
        self._observe = observe
        self._waiting: deque[AnswerRow] = deque()
        self._running: list[AnswerRow] = []
        self._orders: deque[tuple[Callable[[], Any], Future[Any], str | None]] = deque()
        self._change = threading.Condition()
        self._closing: Refusal | None = None
        self._pace = 1.0  # seconds a row
        self._thread = threading.Thread(target=self._work, name="prosopon-engine", daemon=True)

    @property
    def description(self) -> str:
        """Which engine this is, in a line."""
        if self._packed is not None:
            pages = self._packed.pages
            prefix = f"prefix cache of {pages.tokens} tokens" if pages.shares else "no prefix cache"
            return f"continuous batches of any voices, at most {self.row_limit} rows, {prefix}"
        if self.row_limit == 1:
            return "one row at a time"
        kind = "of one or several voices" if self.mixing else "of one voice each"
        return f"static batches {kind}, at most {self.row_limit} rows, no prefix cache"

    @property
    def prefix_hit_rate(self) -> float | None:
        """Share of the tokens of prompts that were read before; None before there are any."""
        return self.shared / self.prompt_tokens if self.prompt_tokens else None

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
        """Measure what rounding does here, choose the engine, and begin to work.

        Raises:
            EngineError: It must be continuous, and cannot.
        """
        if self.row_limit > 1:
            self.rounding = measure_rounding(self.wearer)
            if self.rounding > TRUSTED:
                self.row_limit, self.mixing = 1, False
        if self.mixing:
            with torch.compiler.set_stance("force_eager"):
                pass  # what mixed batches need is imported, for seconds, the first time
        if self.kind != "static":
            try:
                self._packed = self._pack()
            except EngineError as problem:
                if self.kind == "continuous":
                    raise
                self.fallback = str(problem)
        self._thread.start()

    def _pack(self) -> PackedBatch:
        """Return a continuous batch that was tried on this model with some of its personas."""
        if not self.mixing:
            raise EngineError(
                "rows of several voices do not stand in one batch here: half precision, rounding, "
                "experts or --no-mixing"
            )
        tokens = self._cache_tokens or page_tokens(self.wearer.model, self.row_limit)
        batch = PackedBatch(self.wearer, Pages(self.wearer.model, self.row_limit, tokens))
        voices = [Voice(), *map(Voice, self.wearer.personas)]
        try:
            own = batch.measure([v for v in voices if v.mixes(self.wearer)][:4], self.row_limit)
        except Exception as problem:
            text = f"packed batches fail: {type(problem).__name__}: {problem}"
            raise EngineError(text) from problem
        if not own <= TRUSTED:
            raise EngineError(
                f"packed batches differ from rows alone by {own:.2g} times the error that draws "
                "allow for"
            )
        self.rounding = max(own, self.rounding or 0.0)
        return batch

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
        """Forget a persona when no row is written that wears it; those that wait fail (409)."""

        def forget() -> None:
            self.wearer.unload_persona(name)
            for row in self._waiting:
                if name in row.voice.names:
                    message = f"persona {name!r} was unloaded before its turn"
                    row.fail(Refusal(409, message, "persona_unloaded"))

        return self._order(forget, name)

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
        if self._packed is not None:
            self._packed.pages.close()
        self.wearer.close()

    def _order(self, act: Callable[[], Any], name: str | None = None) -> Future[Any]:
        """Let something be done between two batches, and when no row wears ``name``."""
        order: Future[Any] = Future()
        with self._change:
            if self._closing is not None or not self.is_alive:
                order.set_exception(self._closing or STOPPED)
                return order
            self._orders.append((act, order, name))
            self._change.notify()
        return order

    def _work(self) -> None:
        try:
            while (rows := self._next()) is not None:
                if rows:
                    self._write(rows)
                elif self._packed is not None and self._packed.rows:
                    self._step(self._packed)
        except Exception as problem:
            record_failure("the engine failed", problem)
        finally:  # also after a bug nobody waits for what does not come
            with self._change:
                self._closing = end = self._closing or STOPPED
                for row in [*self._waiting, *self._running]:
                    row.fail(end)
                for _, order, _ in self._orders:
                    order.set_exception(end)

    def _next(self) -> list[AnswerRow] | None:
        """Wait for what is next, do orders, and return the rows of a static batch.

        No rows are a step of the continuous one; None is to stop.
        """
        with self._change:
            joined = self._packed.rows if self._packed is not None else []
            while not self._waiting and not self._orders and not joined:
                if self._closing is not None:
                    return None
                self._change.wait()
            self._do_orders(joined)
            self._waiting = deque(row for row in self._waiting if row.check())
            if self._packed is not None:
                self._running = joined = self._join(self._packed)
                if joined:
                    return []
            self._running = self._choose()
            return self._running

    def _do_orders(self, joined: Sequence[AnswerRow]) -> None:
        """Do orders, the oldest first; one that takes a persona from a row waits for its end."""
        while self._orders:
            act, order, name = self._orders[0]
            if any(name in row.voice.names for row in joined):
                return
            self._orders.popleft()
            try:
                order.set_result(act())
            except Exception as problem:
                order.set_exception(problem)

    def _join(self, batch: PackedBatch) -> list[AnswerRow]:
        """Let rows join as far as there are places, the oldest first; return all that are there.

        Behind one that cannot join, all wait, so that its static batch has its turn.
        """
        leaving = {name for _, _, name in self._orders}
        for row in list(self._waiting):
            if len(batch.rows) == self.row_limit or not self._mixes(row.voice):
                break
            if leaving & row.voice.names:
                continue
            if not batch.fits(row):
                break
            self._waiting.remove(row)
            batch.admit([row])
        return list(batch.rows)

    def _step(self, batch: PackedBatch) -> None:
        begin, rows, redrawn = time.monotonic(), list(batch.rows), batch.redrawn
        prompt_tokens, shared = batch.pages.prompt_tokens, batch.pages.shared
        try:
            batch.step()
        except Exception as problem:
            record_failure("a step failed", problem)
            for row in rows:
                row.fail(as_refusal(problem))
        seconds = time.monotonic() - begin
        self._busy += seconds
        if ended := len(rows) - len(batch.rows):
            self._pace += 0.2 * (self._busy / ended - self._pace)
            self._busy = 0.0
        self._report(
            rows, seconds, batch.redrawn - redrawn,
            batch.pages.prompt_tokens - prompt_tokens, batch.pages.shared - shared,
        )  # fmt: skip

    def _report(
        self, rows: Sequence[AnswerRow], seconds: float, redrawn: int, prompt_tokens: int = 0,
        shared: int = 0,
    ) -> None:  # fmt: skip
        self.prompt_tokens += prompt_tokens
        self.shared += shared
        voices = len({row.voice for row in rows})
        self._observe(BatchReport(len(rows), voices, seconds, redrawn, prompt_tokens, shared))

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
        self._report(rows, seconds, batch.redrawn)

    def _watch(self) -> None:
        """Fail what waits for too long, while a batch is written."""
        with self._change:
            for row in self._waiting:
                row.check()
