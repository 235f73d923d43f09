"""Counts and times for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from prosopon.serving.engine import BatchReport, Engine
    from prosopon.serving.work import Work

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What is counted; every server counts for itself."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter("prosopon_requests", "Requests", ["route", "status"], registry=own)
        self.seconds = Histogram(
            "prosopon_request_seconds", "Arrival to last byte", ["route"], buckets=SECONDS,
            registry=own,
        )  # fmt: skip
        self.first = Histogram(
            "prosopon_first_token_seconds", "Arrival to first piece of text", buckets=SECONDS,
            registry=own,
        )  # fmt: skip
        self.tokens = Counter(
            "prosopon_tokens", "Tokens read and written", ["kind", "persona"], registry=own
        )
        self.rows = Histogram(
            "prosopon_batch_rows", "Rows of a batch at its start", buckets=SIZES, registry=own
        )
        self.voices = Histogram(
            "prosopon_batch_voices", "Voices of a batch", buckets=SIZES, registry=own
        )
        self.busy = Counter("prosopon_batch_seconds", "Time spent on batches", registry=own)
        self.redrawn = Counter(
            "prosopon_redrawn_tokens", "Draws made again from the row alone", registry=own
        )

        self.prefix = Counter(
            "prosopon_prefix_tokens", "Tokens of prompts by whether they were read before",
            ["kind"], registry=own,
        )  # fmt: skip

    def watch(self, engine: Engine, personas: Callable[[], int]) -> None:
        """Read the lengths of queue and batch, and the number of personas, when prompt_tokens."""
        for name, text, read in (
            ("waiting_rows", "Rows that wait", lambda: engine.waiting),
            ("running_rows", "Rows that are being written", lambda: engine.running),
            ("personas", "Personas that are loaded", personas),
        ):
            Gauge(f"prosopon_{name}", text, registry=self.registry).set_function(read)

    def observe_batch(self, report: BatchReport) -> None:
        """Count a batch."""
        self.rows.observe(report.rows)
        self.voices.observe(report.voices)
        self.busy.inc(report.seconds)
        self.redrawn.inc(report.redrawn)
        self.prefix.labels("shared").inc(report.shared)
        self.prefix.labels("read").inc(report.prompt_tokens - report.shared)

    def observe_first(self, work: Work) -> None:
        """Note that the first piece of a request's text is there."""
        self.first.observe(time.monotonic() - work.rows[0].arrival)

    def observe_work(self, work: Work, prompt_tokens: int) -> None:
        """Count the tokens of a request."""
        persona = work.rows[0].voice.title
        self.tokens.labels("read", persona).inc(prompt_tokens)
        self.tokens.labels("written", persona).inc(sum(choice.tokens for choice in work.choices))

    def text(self) -> bytes:
        """Return all of it in the format of Prometheus."""
        return generate_latest(self.registry)
