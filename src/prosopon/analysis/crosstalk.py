"""What each persona's mask does to every axis: its own, and those it should leave alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from prosopon.analysis.probe import Effect, Probe, ProbeAxis, effect, paired_json
from prosopon.errors import OptionError
from prosopon.intervals import Paired, holm
from prosopon.progress import Report
from prosopon.subnetwork import Subnetwork

SIGNIFICANT = 0.05

Figure = Literal["rate", "margin"]
"""A figure of an effect: choice rate, or margin in nats per token."""


@dataclass(frozen=True)
class CrossTalk:
    """Effects of masks (rows) on axes (columns)."""

    names: tuple[str, ...]  # the masks worn
    personas: tuple[str, ...]  # the persona of each mask
    axes: tuple[ProbeAxis, ...]  # the axes asked
    base: tuple[float, ...]  # the base's choice rate on every axis
    # [masks, axes], against the base, toward the axis' target
    effects: tuple[tuple[Effect, ...], ...]

    def adjusted(self, figure: Figure = "rate") -> list[list[float]]:
        """Return the p values of a figure, [masks, axes], Holm's correction over all of them.

        A choice changes only where an answer overtakes the other one, so the margins see effects
        that the rates do not.
        """
        flat = iter(holm([getattr(effect, figure).p for row in self.effects for effect in row]))
        return [[next(flat) for _ in row] for row in self.effects]

    @property
    def rates(self) -> list[list[float]]:
        """Differences of the choice rates, [masks, axes]."""
        return [[effect.rate.difference.mean for effect in row] for row in self.effects]

    def own(self, row: int) -> int | None:
        """Return the column of the axis that a mask's persona is a pole of; None if not asked."""
        persona = self.personas[row]
        return next((i for i, axis in enumerate(self.axes) if axis.toward(persona)), None)

    def others(self) -> list[tuple[int, int]]:
        """Return (row, column) of every effect on another axis than the mask's own."""
        columns = range(len(self.axes))
        return [(r, c) for r in range(len(self.names)) for c in columns if c != self.own(r)]

    def strength(self, row: int) -> float | None:
        """Return how far a mask moves its own axis, toward its own pole; None if not asked."""
        column = self.own(row)
        if column is None:
            return None
        return self.axes[column].toward(self.personas[row]) * self.rates[row][column]

    def leak(self, row: int) -> float | None:
        """Return the mean absolute effect on the other axes; None where there is no other."""
        others = [abs(self.rates[row][column]) for r, column in self.others() if r == row]
        return math.fsum(others) / len(others) if others else None

    def leaks(self, figure: Figure = "rate") -> list[tuple[str, str, Paired]]:
        """Return (mask, axis, change) of every significant effect on another axis, by size."""
        adjusted = self.adjusted(figure)
        leaks: list[tuple[str, str, Paired]] = [
            (self.names[row], self.axes[column].name, getattr(self.effects[row][column], figure))
            for row, column in self.others()
            if adjusted[row][column] < SIGNIFICANT
        ]
        return sorted(leaks, key=lambda leak: -abs(leak[2].difference.mean))

    def relative_leak(self, row: int) -> tuple[str, float] | None:
        """Return the other axis whose margin a mask moves most, over how far it moves its own.

        The ratio is positive where the axis' target gains. None where the own axis or another one
        was not asked, or the own interval reaches 0: a share of noise has no meaning.
        """
        own = self.own(row)
        if own is None or len(self.axes) < 2:
            return None
        moved = [effect.margin.difference.mean for effect in self.effects[row]]
        sign, change = self.axes[own].toward(self.personas[row]), self.effects[row][own].margin
        # An interval of one question is infinite, so its end is not above 0.
        if min(sign * change.difference.low, sign * change.difference.high) <= 0:
            return None
        most = max((c for c in range(len(moved)) if c != own), key=lambda c: abs(moved[c]))
        return self.axes[most].name, moved[most] / (sign * moved[own])

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        axes = [
            {"axis": axis.name, "target": axis.target, "opposite": axis.opposite, "base_rate": base}
            for axis, base in zip(self.axes, self.base, strict=True)
        ]
        adjusted = {figure: self.adjusted(figure) for figure in get_args(Figure)}
        masks = [
            {
                "mask": name,
                "persona": self.personas[row],
                "own_axis": None if (own := self.own(row)) is None else self.axes[own].name,
                "own_effect": self.strength(row),
                "mean_other_effect": self.leak(row),
                "axes": {
                    axis.name: {
                        figure: paired_json(getattr(self.effects[row][column], figure))
                        | {"p_holm": p[row][column]}
                        for figure, p in adjusted.items()
                    }
                    for column, axis in enumerate(self.axes)
                },
            }
            for row, name in enumerate(self.names)
        ]
        return {"axes": axes, "masks": masks}


def cross_talk(
    probe: Probe,
    subnetworks: Mapping[str, Subnetwork],
    axes: Sequence[ProbeAxis],
    *,
    seed: int = 0,
    report: Report | None = None,
) -> CrossTalk:
    """Wear each mask, ask every axis, and compare with the base question by question.

    Raises:
        OptionError: No mask, no axis, or two axes of one name.
        SubnetworkError: A mask belongs to another model than the probe's.
    """
    if not subnetworks or not axes:
        raise OptionError("cross-talk needs at least one mask and one axis")
    if len({axis.name for axis in axes}) < len(axes):
        raise OptionError("cross-talk: two axes have the same name")
    report = report or (lambda *_: None)
    base = probe.choices(None, axes)
    rows = []
    for done, subnetwork in enumerate(subnetworks.values()):
        report("cross-talk", done, len(subnetworks))
        masked = probe.choices(subnetwork, axes)
        rows.append(tuple(effect(masked[a.name], base[a.name], seed=seed) for a in axes))
    report("cross-talk", len(subnetworks), len(subnetworks))
    return CrossTalk(
        names=tuple(subnetworks),
        personas=tuple(one.config.persona for one in subnetworks.values()),
        axes=tuple(axes),
        base=tuple(base[axis.name].rate for axis in axes),
        effects=tuple(rows),
    )
