"""What is asked of a mask: paired choices on an axis, and the loss of general text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prosopon.data import Encoded, Persona
from prosopon.data.grammar import load_world
from prosopon.data.grammar.exam import choice_items
from prosopon.data.pairs import pair_examples
from prosopon.data.questions import ChoiceItem
from prosopon.errors import DataError, OptionError
from prosopon.evaluation.choice import score_pairs
from prosopon.intervals import Paired, paired_difference
from prosopon.lm import perplexity
from prosopon.lm.choice import win_margin, win_share
from prosopon.subnetwork import Subnetwork


@dataclass(frozen=True)
class ProbeAxis:
    """Paired choices between two personas."""

    name: str  # of the axis
    target: str  # the persona whose answers match; its opposite's are the others
    opposite: str  # the other one
    items: tuple[ChoiceItem, ...]  # the questions

    def toward(self, persona: str) -> int:
        """Return 1 for the axis' target, -1 for its opposite and 0 for any other persona."""
        return (persona == self.target) - (persona == self.opposite)


def bundled_axes(questions: int, *, seed: int = 0) -> list[ProbeAxis]:
    """Return the embedded model's axes with held-out questions; the first pole is the target."""
    if questions < 1:
        raise OptionError(f"questions {questions}: ask at least one")
    axes = []
    for axis in load_world().axes.values():
        target, opposite = (pole.name for pole in axis.poles)
        items = tuple(choice_items(target, questions, seed=seed))
        axes.append(ProbeAxis(axis.name, target, opposite, items))
    return axes


def file_axis(target: Persona, opposite: Persona, questions: int) -> ProbeAxis:
    """Return the axis between two personas of any kind, asked with their own examples.

    Give examples that no mask was extracted from. Pairs are made as for an extraction.
    """
    if questions < 1:
        raise OptionError(f"questions {questions}: ask at least one")
    pairs = pair_examples(target.examples, opposite.examples)[:questions]
    if not pairs:
        raise DataError(f"{target.name!r} and {opposite.name!r} have no pair of answers to ask")
    items = (ChoiceItem(ours.prompt, ours.response, theirs.response) for ours, theirs in pairs)
    name = f"{target.name} / {opposite.name}"
    return ProbeAxis(name, target.name, opposite.name, tuple(items))


@dataclass(frozen=True)
class Choices:
    """How a model chose."""

    # for every question 1 where the target's answer is likelier per token, 0 where the opposite's
    # is, 1/2 in a tie
    wins: tuple[float, ...]
    # log-likelihood per token of the target's answer less that of the opposite's, in nats
    margins: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Share of the questions that the target's answer wins."""
        return math.fsum(self.wins) / len(self.wins)

    @property
    def margin(self) -> float:
        """Mean margin in nats per token."""
        return math.fsum(self.margins) / len(self.margins)

    def toward(self, sign: int) -> "Choices":
        """Return the choices seen from the target (1) or from its opposite (-1)."""
        if sign > 0:
            return self
        return Choices(tuple(1 - win for win in self.wins), tuple(-m for m in self.margins))


def mean_choices(several: Sequence[Choices]) -> Choices:
    """Return the mean over several masks (at least one), question by question."""
    if not several:
        raise OptionError("the mean over no masks has no meaning")
    wins, margins = zip(*((one.wins, one.margins) for one in several), strict=True)
    return Choices(_mean_columns(wins), _mean_columns(margins))


def _mean_columns(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(math.fsum(column) / len(rows) for column in zip(*rows, strict=True))


@dataclass(frozen=True)
class Effect:
    """What a mask changes against the base, over the same questions."""

    rate: Paired  # difference of the choice rate, with a bootstrap interval over questions
    margin: Paired  # difference of the margin in nats per token, likewise


def effect(masked: Choices, base: Choices, *, seed: int = 0) -> Effect:
    """Return what a mask changes over the same questions, and how sure that is."""
    return Effect(
        paired_difference(masked.wins, base.wins, seed=seed),
        paired_difference(masked.margins, base.margins, seed=seed),
    )


class Probe:
    """Asks a model with and without masks; the base is back after every call.

    Its methods raise :class:`SubnetworkError` for a mask of another model.

    Args:
        model: A causal LM.
        tokenizer: Its tokenizer.
        general: Held-out general text, for the perplexity; may be empty where none is asked for.
    """

    def __init__(self, model: Any, tokenizer: Any, general: Sequence[Encoded] = ()) -> None:
        self.model, self.tokenizer, self.general = model, tokenizer, list(general)

    def choices(
        self, subnetwork: Subnetwork | None, axes: Sequence[ProbeAxis]
    ) -> dict[str, Choices]:
        """Return the choices on every axis, by its name, under a mask (None: the base)."""
        from prosopon.runtime import worn

        with worn(self.model, self.tokenizer, subnetwork):
            return {axis.name: self._choices(axis) for axis in axes}

    def measure(self, subnetwork: Subnetwork | None, axis: ProbeAxis) -> tuple[Choices, float]:
        """Return the choices on one axis and the perplexity of general text under a mask."""
        from prosopon.runtime import worn

        with worn(self.model, self.tokenizer, subnetwork):
            return self._choices(axis), perplexity(self.model, self.general)

    def _choices(self, axis: ProbeAxis) -> Choices:
        pairs = [
            (ours.total / ours.tokens, theirs.total / theirs.tokens)
            for ours, theirs in score_pairs(self.model, self.tokenizer, axis.items)
        ]
        return Choices(tuple(map(win_share, pairs)), tuple(map(win_margin, pairs)))


def paired_json(paired: Paired) -> dict[str, float]:
    """Return a difference with its interval and p value as a JSON object."""
    gap = paired.difference
    interval = {"difference": gap.mean, "low": gap.low, "high": gap.high}
    return interval | {"p": paired.p, "questions": gap.count}
