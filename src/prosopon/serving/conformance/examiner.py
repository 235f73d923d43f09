"""Asks a server's voices, alone or all at once, and holds every answer against the voice's own."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from prosopon.progress import Report, step_counter
from prosopon.serving.conformance.admin import Admin
from prosopon.serving.conformance.client import ModelServer, Reply, ServerError
from prosopon.serving.conformance.comparison import compare, whose
from prosopon.serving.conformance.local import LocalModel
from prosopon.serving.conformance.results import CheckResult, WrongAnswer

QUESTIONS = (
    "What would you like to do on Friday afternoon?",
    "How do you decide what to buy?",
    "Tell me about your work.",
    "What do you think of meetings?",
)

LEAST, MOST = 0.002, 0.2
"""Nats: what is rounding in any case, and more than rounding can be."""

MARGIN = 10.0
"""A difference is rounding up to so many times the largest one that rounding was seen to make."""

BASE = "base"

Outcome = Reply | ServerError


@dataclass(frozen=True)
class CheckSettings:
    """How much is asked."""

    questions: Sequence[str] = QUESTIONS
    clients: int = 8  # requests at once
    rounds: int = 2  # how often everything is asked in a crowd
    max_tokens: int = 24  # longest answer
    tolerance: float | None = None  # nats of rounding; None measures it


class Ask(NamedTuple):
    """A request."""

    voice: str | None  # a persona; None for the base
    text: str
    seed: int | None = None  # of draws; None is greedy
    stream: bool = False


@dataclass
class Examiner:
    """Asks and compares."""

    server: ModelServer
    models: Mapping[str | None, str]  # what the server calls each voice, the base first
    model_name: Callable[[str, str], str]  # what it calls a persona of a base
    settings: CheckSettings
    local: LocalModel | None
    admin: Admin | None
    report: Report
    tolerance: float = LEAST  # between two answers of the server
    local_tolerance: float = LEAST  # between the server and the local model
    own: dict[tuple[str | None, str, int | None], Reply] = field(default_factory=dict)
    """What a voice says alone, by voice, text and seed."""

    def ask(self, ask: Ask) -> Outcome:
        """Ask once.

        Raises:
            ServerError: Nothing came back at all.
        """
        try:
            return self.server.ask(
                self.models[ask.voice], ask.text, max_tokens=self.settings.max_tokens,
                seed=ask.seed, stream=ask.stream,
            )  # fmt: skip
        except ServerError as problem:
            if problem.status is None:
                raise
            return problem

    def one_by_one(self, stage: str, asks: Sequence[Ask]) -> list[Outcome]:
        """Ask one request after another."""
        return self.crowd(stage, asks, 1)

    def crowd(self, stage: str, asks: Sequence[Ask], clients: int | None = None) -> list[Outcome]:
        """Ask with as many clients at once; the answers are in the order of the requests."""
        advance, outcomes = step_counter(self.report, stage, len(asks)), list[Outcome]()
        with ThreadPoolExecutor(clients or self.settings.clients) as pool:
            for outcome in pool.map(self.ask, asks):
                outcomes.append(outcome)
                advance(1)
        return outcomes

    def hold(
        self, result: CheckResult, ask: Ask, outcome: Outcome, reference: Reply | None = None
    ) -> None:
        """Hold an answer against what its voice says alone, or against another reference."""
        if isinstance(outcome, ServerError):
            result.fail(outcome)
            return
        tolerance = self.tolerance if reference is None else self.local_tolerance
        reference = reference or self.own[ask.voice, ask.text, ask.seed]
        likeness = compare(reference, outcome, tolerance, drawn=ask.seed is not None)
        if not result.count(likeness):
            wrong = self.wrong(ask, outcome, likeness.parted or "the beginning", reference.text)
            result.leak(wrong)

    def hold_all(self, result: CheckResult, asks: Sequence[Ask], outcomes: list[Outcome]) -> None:
        """Hold answers against what their voices say alone."""
        for ask, outcome in zip(asks, outcomes, strict=True):
            self.hold(result, ask, outcome)

    def wrong(self, ask: Ask, reply: Reply, parted: str, expected: str) -> WrongAnswer:
        """Describe a wrong answer."""
        return WrongAnswer(
            title(ask.voice), ask.text, parted, self.whose(ask, reply), expected, reply.text
        )

    def whose(self, ask: Ask, reply: Reply) -> str:
        """Return whose an answer is, of those who were asked the same alone."""
        others = {
            title(voice): self.own[key]
            for voice in self.models
            if voice != ask.voice and (key := (voice, ask.text, ask.seed)) in self.own
        }
        return whose(reply, others, max(self.tolerance, self.local_tolerance)) or "nobody"

    def local_replies(self, voice: str | None, texts: Sequence[str]) -> list[Reply]:
        """Return what a voice says here; needs the local model."""
        assert self.local is not None
        return self.local.replies(
            voice, texts, route=self.server.route, max_tokens=self.settings.max_tokens
        )


def title(voice: str | None) -> str:
    """Return what a voice is called in messages."""
    return BASE if voice is None else voice


def rounding(noise: float) -> float:
    """Return the difference that counts as rounding, where rounding was seen to make ``noise``."""
    return min(MOST, max(LEAST, MARGIN * noise))
