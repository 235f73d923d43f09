"""Whom a sweep is about: calibration examples, a meter, and a line for the prompt arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from prosopon.data import Encoded, Persona, bundled, draw, split_contrast
from prosopon.data.grammar import load_world, prompt_line
from prosopon.evaluation import Effort, GrammarMeter, Meter, PairMeter


@dataclass(frozen=True)
class Subject:
    """One persona of a sweep.

    Attributes:
        name: The target's name.
        target: What its masks may be calibrated on.
        opposite: The same of the opposite.
        meter: Measures it.
        line: System line of the prompt arm; None where there is none.
    """

    name: str
    target: Persona
    opposite: Persona
    meter: Meter
    line: str | None

    def calibration(self, count: int, seed: int) -> tuple[Persona, Persona]:
        """Return ``count`` examples of each side.

        Raises:
            DataError: There are fewer.
        """
        return draw(self.target, count, seed), draw(self.opposite, count, seed)

    def content(self) -> dict[str, Any]:
        """Return what a cell's key says of the data: hashes of all that masks may be found on."""
        return {
            "target": self.target.content_hash(),
            "opposite": self.opposite.content_hash(),
            "line": self.line,
        }


class Subjects(Protocol):
    """Makes subjects, on one loaded model."""

    def names(self) -> Sequence[str]:
        """Return whom the sweep is about, in order."""

    def describe(self) -> dict[str, Any]:
        """Return what the folder's header says about the data of the measures; JSON."""

    def get(self, name: str) -> Subject:
        """Return one of them."""


class BundledSubjects:
    """Bundled personas on the embedded model; the grammar judges.

    Args:
        personas: Their names.
        model: The embedded model.
        tokenizer: Its tokenizer.
        general: Held-out general text.
        effort: How much is asked.
    """

    def __init__(
        self,
        personas: Sequence[str],
        model: Any,
        tokenizer: Any,
        general: Sequence[Encoded],
        effort: Effort,
    ) -> None:
        self._names = tuple(personas)
        self._meter = GrammarMeter(model, tokenizer, general, effort)

    def names(self) -> Sequence[str]:
        """See :class:`Subjects`."""
        return self._names

    def describe(self) -> dict[str, Any]:
        """See :class:`Subjects`."""
        return {"judge": "grammar"}

    def get(self, name: str) -> Subject:
        """See :class:`Subjects`.

        Raises:
            UnknownNameError: No such bundled persona.
        """
        other = bundled.opposite(name)
        line = prompt_line(load_world().pole(name))
        return Subject(name, bundled.load(name), bundled.load(other), self._meter, line)


class PairSubject:
    """One persona and its opposite from any source, on any model; a classifier judges.

    A quarter of the prompts at most is asked and another quarter teaches the judge; masks are
    calibrated on the rest.

    Args:
        target: All examples of the target.
        opposite: All examples of the opposite.
        model: A causal LM.
        tokenizer: Its tokenizer.
        general: Held-out general text.
        effort: How much is asked.
        line: System line of the prompt arm; default the target's description.

    Raises:
        DataError: Too few examples to keep the three apart, or for a judge.
    """

    def __init__(
        self,
        target: Persona,
        opposite: Persona,
        model: Any,
        tokenizer: Any,
        general: Sequence[Encoded],
        effort: Effort,
        line: str | None = None,
    ) -> None:
        test = max(effort.choices, effort.answers)
        split = split_contrast(target, opposite, judge=effort.judge, test=test)
        meter = PairMeter.with_judge(model, tokenizer, split.test, split.judge, general, effort)
        told = line or target.description or None
        self._subject = Subject(target.name, *split.calibration, meter, told)
        self._held_out = [p.content_hash() for p in (*split.test, *split.judge)]
        self.judge = meter.judge

    def names(self) -> Sequence[str]:
        """See :class:`Subjects`."""
        return (self._subject.name,)

    def describe(self) -> dict[str, Any]:
        """See :class:`Subjects`."""
        accuracy = self.judge.accuracy
        return {
            "judge": "classifier",
            "judge_accuracy": [accuracy.mean, accuracy.low, accuracy.high],
            "held_out": self._held_out,
        }

    def get(self, name: str) -> Subject:
        """See :class:`Subjects`."""
        return self._subject
