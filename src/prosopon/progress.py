"""Progress: how far long work is and how long it will take, drawn as lines where no bar can be."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

Report = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all) while something long runs."""


EVERY = 30.0
"""Most seconds between two lines."""

PACE = "PROSOPON_PROGRESS_SECONDS"
"""Variable that says otherwise, for programs that read the lines."""


def line_seconds() -> float:
    """Return the seconds between two lines that the environment asks for, or `EVERY`."""
    try:
        return max(0.1, float(os.environ[PACE]))
    except (KeyError, ValueError):
        return EVERY


def step_counter(report: Report, stage: str, total: int) -> Callable[[int], None]:
    """Return what is called with the steps done since its last call."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        report(stage, done, total)

    return advance


NOTICE = 3.0
"""Seconds after which inner steps are worth a word."""

_listener: ContextVar[Report | None] = ContextVar("listener", default=None)


@contextmanager
def listening(report: Report) -> Iterator[None]:
    """Tell a report of inner steps too, those of whatever runs in the with block."""
    token = _listener.set(report)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def inner_steps(
    stage: str, total: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int], None] | None]:
    """Yield what is called with the steps done since its last call; None where nobody listens.

    For work deep down, such as one call of a model's ``generate``: where it takes more than a few
    seconds, who waits hears how far it is, below the stages that they know of.

    Args:
        stage: What is done.
        total: Steps in all.
        clock: Seconds that never go back.
    """
    report, began, said = _listener.get(), clock(), False
    if report is None:
        yield None
        return
    done = 0

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        if done < total and clock() - began >= NOTICE:
            said = True
            report(stage, done, total)

    try:
        yield advance
    finally:
        if said:
            report(stage, total, total)


@dataclass
class _Stage:
    """A stage under way: when it was first heard of, how far it was then, how far it is.

    Attributes:
        since: When the last report of a step's end came.
        reports: How many came; one may tell of many steps.
    """

    began: float
    first: int
    done: int
    total: int
    since: float
    reports: int = 0

    def seconds_left(self, now: float) -> float | None:
        """Return how long the rest should take; None before the first step's end.

        What the next report tells of takes what the others took on the mean, unless it shows that
        it can take longer: then it counts among them, as if it came now. Of the present one there
        is at least a quarter of what it took so far.
        """
        steps = self.done - self.first
        if steps <= 0 or self.done >= self.total:
            return None
        present, left = now - self.since, (self.total - self.done) * self.reports / steps
        mean = max(
            (self.since - self.began) / self.reports, (now - self.began) / (self.reports + 1)
        )
        return mean * max(left - 1, 0.0) + max(min(left, 1.0) * mean - present, present / 4)


class ProgressLines:
    """A :data:`Report` that writes lines: the first at once, then one every 30 seconds.

    Args:
        write: Takes a line.
        clock: Seconds that never go back.
        every: Most seconds between two lines.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        every: float = EVERY,
    ) -> None:
        self._write, self._clock, self._every = write, clock, every
        self._stages: dict[str, _Stage] = {}
        self._due = clock()
        self._lock = threading.Lock()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note how far a stage is, and write a line where one is due."""
        with self._lock:
            now = self._clock()
            entry = self._stages.setdefault(stage, _Stage(now, done, done, total, now))
            if done != entry.done:
                entry.since, entry.reports = now, entry.reports + 1
            entry.done, entry.total = done, total
            self._tell(now)
            if done >= total:
                del self._stages[stage]

    def tick(self) -> None:
        """Write a line where one is due although nothing was reported."""
        with self._lock:
            self._tell(self._clock())

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Write lines also while no step ends, from a thread of their own."""
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(self._every / 6):
                self.tick()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _tell(self, now: float) -> None:
        if now < self._due or not self._stages:
            return
        self._due = now + self._every
        self._write("; ".join(_describe(name, stage, now) for name, stage in self._stages.items()))


def _describe(name: str, stage: _Stage, now: float) -> str:
    share = stage.done / stage.total if stage.total else 1.0
    line = f"{name}: {stage.done}/{stage.total} ({share:.0%})"
    left = stage.seconds_left(now)
    if left is not None:
        line += f", {format_duration(left)} left"
    return line


def format_duration(seconds: float) -> str:
    """Return a time for people: ``0.02 s``, ``4.2 s``, ``45 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 0.01:
        return "under 0.01 s"
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def count_things(number: int, noun: str) -> str:
    """Return ``1 example``, ``2 examples``: a number and its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
