"""Doses: how strong an arm is, and what that costs general text; one search for every arm.

An arm with a dial learns once (``dial(lab)``), and is then worn at the strongest dose within any
limit (:class:`Dial`).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol, runtime_checkable

from prosopon.arms.base import Cost, Lab, Prepared
from prosopon.arms.ready import Clock, Ready, counter, speaker_of
from prosopon.errors import OptionError
from prosopon.evaluation.speaking import Speaker
from prosopon.lm import text_losses

LEAST, MOST = 0.01, 64.0  # doses between which an arm's is looked for, unless it says others
FACTOR = 4.0
CLOSE = 0.95  # share of the limit that is near enough
NEAR = 1.01  # so are two doses that differ by this factor
TRIES = 8  # doses between a harmless and a harmful one
STEPS = TRIES + 4  # what progress counts to: few searches need all
FEW = 32  # general texts that candidates are compared on

Wear = Callable[[float], AbstractContextManager[Any]]
"""From a dose to a context in which the arm is worn at it."""


class Dial(Protocol):
    """An arm that has learned its persona and can be as strong as one likes."""

    def within(self, limit: float) -> Prepared:
        """Return it at its strongest within a rise of held-out general loss, nats a token.

        Its cost says the ``dose`` and the ``general_loss``. Where even the least dose is beyond
        the limit, that one is returned.
        """


@runtime_checkable
class Dialable(Protocol):
    """An arm that has a dial."""

    def dial(self, lab: Lab) -> Dial:
        """Learn the persona once, for every dose.

        Raises:
            ProsoponError: It cannot.
        """


class Doses:
    """The doses of an arm and the rises that they cost; each is measured once.

    Args:
        rise: Measures what a dose costs.
        start: The dose that is tried first.
        least: The least dose.
        most: The largest.
        factor: Between doses until a harmless and a harmful one enclose the limit.
        report: Called with the doses tried, of at most :data:`STEPS`, and at the end.
    """

    def __init__(
        self,
        rise: Callable[[float], float],
        *,
        start: float = 1.0,
        least: float = LEAST,
        most: float = MOST,
        factor: float = FACTOR,
        report: Callable[[int], Any] = lambda _done: None,
    ) -> None:
        self._measure, self._start, self._least, self._most = rise, start, least, most
        self._factor, self._report = factor, report
        self._rises: dict[float, float] = {}

    def rise(self, dose: float) -> float:
        """Return what a dose costs; infinity where the model breaks."""
        if dose not in self._rises:
            rise = self._measure(dose)
            self._rises[dose] = rise if math.isfinite(rise) else math.inf
        return self._rises[dose]

    def largest(self, limit: float) -> tuple[float, float]:
        """Return the largest dose within a limit, and what it costs.

        From the first dose by equal factors until the limit is enclosed; then by the straight
        line through both ends in logarithms, and by halves where that says nothing.
        """
        for number, dose in enumerate(self._search(limit)):
            self._report(min(number, STEPS - 1))
            self.rise(dose)
        self._report(STEPS)
        low, _ = self._bracket(limit)
        dose = self._least if low is None else low
        return dose, self.rise(dose)

    def _search(self, limit: float) -> Iterator[float]:
        yield from self._enclosing(limit)
        for _ in range(TRIES):
            low, high = self._bracket(limit)
            if low is None or high is None or high < NEAR * low:
                return
            if self._rises[low] >= CLOSE * limit:
                return
            yield self._between(low, high, limit)

    def _enclosing(self, limit: float) -> Iterator[float]:
        while True:
            low, high = self._bracket(limit)
            if low is None and high is None:
                yield self._start
            elif low is None and high is not None and high > self._least:
                yield max(high / self._factor, self._least)
            elif high is None and low is not None and low < self._most:
                yield min(low * self._factor, self._most)
            else:
                return

    def _bracket(self, limit: float) -> tuple[float | None, float | None]:
        """Return the largest harmless dose below the least harmful one, and that one."""
        high = min((dose for dose, rise in self._rises.items() if rise > limit), default=None)
        harmless = (
            dose
            for dose, rise in self._rises.items()
            if rise <= limit and (high is None or dose < high)
        )
        return max(harmless, default=None), high

    def _between(self, low: float, high: float, limit: float) -> float:
        share, (cheap, dear) = 0.5, (self._rises[low], self._rises[high])
        if 0 < cheap < dear < math.inf:
            aim = limit * (1 + CLOSE) / 2
            share = math.log(aim / cheap) / math.log(dear / cheap)
            share = min(max(share, 0.1), 0.9)
        return low * math.pow(high / low, share)


def general_rise(lab: Lab, count: int | None = None) -> Callable[[Wear], Callable[[float], float]]:
    """Return what makes the measure of an arm's doses: how much the loss of general text rises.

    It is text that neither the arm nor the result's measures read, in nats a token.

    Args:
        lab: Holds the model and its texts.
        count: Most texts; default all.

    Raises:
        OptionError: There are none.
    """
    texts, size = lab.extractor.held_out()[:count], lab.extractor.max_tokens
    if not texts:
        raise OptionError(
            "a dose is measured on general text that is held out: --general needs at least 4 texts"
        )

    def loss() -> float:
        total, tokens = text_losses(lab.model, texts, every=True, max_tokens=size)
        return total / tokens

    base = loss()

    def measure(wear: Wear) -> Callable[[float], float]:
        def rise(dose: float) -> float:
            with wear(dose):
                return loss() - base

        return rise

    return measure


def dose_counter(lab: Lab) -> Callable[[int], Any]:
    """Return what reports how far the search for a dose is."""
    return counter(lab, "finding the dose", STEPS)


class Candidate(NamedTuple):
    """A place that an arm may work at.

    Attributes:
        wear: Wears the arm there.
        trial: Wears what was learned without the held-out pairs, to choose by.
        details: The place, for the provenance: JSON values.
    """

    wear: Wear
    trial: Wear
    details: Mapping[str, Any]


class ScaleDial:
    """A dial that multiplies what an arm adds.

    Args:
        lab: The lab.
        candidates: Places to choose from, at least one. Of several the one is taken whose margin
            is largest at its dose within the limit.
        cost: Of learning.
        margin: Measures held-out pairs as the model is; needed for several candidates.
        first: The dose that is tried first.
        name: What the dose is called in the cost.
    """

    def __init__(
        self,
        lab: Lab,
        candidates: list[Candidate],
        cost: Cost,
        margin: Callable[[], float] | None = None,
        *,
        first: float = 1.0,
        name: str = "scale",
    ) -> None:
        self._lab, self._candidates, self._cost = lab, candidates, cost
        self._margin, self._first, self._name = margin, first, name
        self._trials: list[Doses] = []
        self._doses: dict[int, Doses] = {}

    def within(self, limit: float) -> Ready:
        """See :class:`Dial`."""
        self._lab.extractor.held_out()  # shared by all arms
        clock, number, notes = Clock(), 0, dict[str, Any]()
        if len(self._candidates) > 1:
            number, notes["trials"] = self._choose(limit)
        if number not in self._doses:
            measure = general_rise(self._lab)
            self._doses[number] = self._search(measure(self._candidates[number].wear))
        dose, notes["general_loss"] = self._doses[number].largest(limit)
        return self.at(dose, number, notes, clock.seconds())

    def at(
        self,
        dose: float,
        number: int = 0,
        notes: Mapping[str, Any] | None = None,
        seconds: float = 0.0,
    ) -> Ready:
        """Return the arm at a dose.

        Args:
            dose: The dose.
            number: Which candidate.
            notes: Further details for the cost.
            seconds: What finding the dose took.
        """
        chosen = self._candidates[number]
        details = {**self._cost.details, **chosen.details, self._name: dose, **(notes or {})}

        @contextmanager
        def enter() -> Iterator[Speaker]:
            with chosen.wear(dose):
                yield speaker_of(self._lab)

        cost = Cost(self._cost.seconds + seconds, self._cost.bytes, details)
        return Ready(cost, enter)

    def _search(self, rise: Callable[[float], float]) -> Doses:
        return Doses(rise, start=self._first, report=dose_counter(self._lab))

    def _choose(self, limit: float) -> tuple[int, list[dict[str, Any]]]:
        """Return the candidate with the largest margin at its dose, and what was tried."""
        assert self._margin is not None
        if not self._trials:
            measure = general_rise(self._lab, FEW)
            self._trials = [self._search(measure(place.trial)) for place in self._candidates]
        trials, say = list[dict[str, Any]](), counter(self._lab, "choosing", len(self._candidates))
        for place, doses in zip(self._candidates, self._trials, strict=True):
            dose, rise = doses.largest(limit)
            with place.trial(dose):
                margin = self._margin()
            tried = {self._name: dose, "margin": margin, "general_loss": rise}
            trials.append({**place.details, **tried})
            say(len(trials))
        harmless = [i for i, trial in enumerate(trials) if trial["general_loss"] <= limit]
        best = max(harmless or range(len(trials)), key=lambda i: trials[i]["margin"])
        return best, trials
