"""What the checks of a server saw."""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from prosopon.serving.conformance.comparison import Likeness

EXAMPLES = 3
"""Wrong answers of a check that are kept."""


class WrongAnswer(NamedTuple):
    """An answer that was not the voice's own."""

    voice: str  # who was asked
    question: str
    parted: str  # where it left what the voice says
    whose: str  # whose it was instead, as far as that can be said
    expected: str
    answer: str

    def line(self) -> str:
        """Return it in a line."""
        return f"{self.voice} answered as {self.whose}, from {self.parted} on: {self.answer!r}"


@dataclass
class CheckResult:
    """What one check saw."""

    check: str
    what: str  # in words
    requests: int = 0  # answers that were compared, or names that were tried
    leaks: int = 0  # that were not the voice's own
    ties: int = 0  # that part where rounding, or a draw, may have decided
    failures: int = 0  # requests without an answer that should have had one
    furthest: float = 0.0  # largest difference of log probabilities in what was alike, in nats
    skipped: str = ""  # why it was not made
    examples: list[WrongAnswer] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def count(self, likeness: Likeness) -> bool:
        """Take in a comparison, and tell whether the answer was the voice's own."""
        self.requests += 1
        if likeness.alike:
            self.ties += likeness.parted is not None
            self.furthest = max(self.furthest, likeness.furthest)
        return likeness.alike

    def leak(self, wrong: WrongAnswer) -> None:
        """Take in a wrong answer, which was counted as a request before."""
        self.leaks += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(wrong)

    def fail(self, problem: Exception) -> None:
        """Take in a request without an answer."""
        self.requests += 1
        self.failures += 1
        if len(self.problems) < EXAMPLES:
            self.problems.append(str(problem))

    def as_json(self) -> dict[str, Any]:
        """Return it as an object of JSON."""
        return asdict(self) | {"examples": [one._asdict() for one in self.examples]}


@dataclass
class ServerReport:
    """What all checks of a server saw."""

    url: str
    base: str
    personas: list[str]
    tolerance: float  # most difference of log probabilities that counts as rounding, in nats
    local_tolerance: float | None  # the same between the server and the local model
    results: list[CheckResult]
    notes: list[str]

    @property
    def leaks(self) -> int:
        """How many answers were not the voice's own."""
        return sum(result.leaks for result in self.results)

    @property
    def failures(self) -> int:
        """How many requests had no answer."""
        return sum(result.failures for result in self.results)

    def as_json(self) -> dict[str, Any]:
        """Return it as an object of JSON."""
        own = asdict(self) | {"results": [result.as_json() for result in self.results]}
        return own | {"leaks": self.leaks, "failures": self.failures}
