"""Is a mask a faithful explanation? What its parts do, what other weights do in their place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prosopon.analysis import parts
from prosopon.analysis.probe import (
    Choices,
    Effect,
    Probe,
    ProbeAxis,
    effect,
    mean_choices,
    paired_json,
)
from prosopon.errors import OptionError
from prosopon.models import find_sites, role
from prosopon.progress import Report
from prosopon.subnetwork import Subnetwork

SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
"""Shares of the mask applied that a curve measures, besides none and all of it."""

DRAWS = 3
"""Draws of every random control."""

RANGES = 4
"""Parts that the layers are split into."""

TOP = 0.1


@dataclass(frozen=True)
class ArmEffect:
    """What one arm does.

    Attributes:
        name: Of the arm.
        pruned: Weights pruned, the mean over draws.
        effect: Against the base, toward the persona: choice rate and margin, with intervals over
            questions. Draws are averaged question by question.
        perplexity_ratio: Of general text, over the base's; the mean over draws.
        draws: Margin effects of single draws; one where nothing is drawn.
        faithful: Share of the whole mask's margin effect that the arm has. None where that
            effect cannot be told from none, see :attr:`Faithfulness.moves`.
    """

    name: str
    pruned: float
    effect: Effect
    perplexity_ratio: float
    draws: tuple[float, ...]
    faithful: float | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "arm": self.name,
            "pruned": self.pruned,
            "rate": dict(paired_json(self.effect.rate)),
            "margin": dict(paired_json(self.effect.margin)),
            "margin_by_draw": list(self.draws),
            "share_of_effect": self.faithful,
            "perplexity_ratio": self.perplexity_ratio,
        }


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve.

    Attributes:
        share: Share of the mask's pruned weights that are pruned.
        rate: Choice rate, toward the persona.
        margin: Margin in nats per token, toward the persona.
        perplexity_ratio: Of general text, over the base's.
    """

    share: float
    rate: float
    margin: float
    perplexity_ratio: float

    def to_json(self) -> dict[str, float]:
        """Return a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True)
class Faithfulness:
    """The test of one mask as an explanation.

    Attributes:
        name: Of the mask.
        persona: That it is of.
        pruned_share: Share of the sites' weights that it prunes.
        axis: What was asked.
        base_rate: Choice rate of the base, toward the persona.
        base_perplexity: Of general text.
        arms: Whole mask, its parts, its controls.
        curves: Over the share of the mask applied, by the order that it is applied in:
            ``ranking`` (where the mask has one) and ``random``.
        refused: Why an arm could not be run, by its name.
        moves: Whether the interval of the whole mask's margin effect leaves out 0. Shares of an
            effect that may be none mean nothing, so where it does not there are none.
        mean_size: Mean absolute value of the weights pruned by ``whole``, ``elsewhere`` and
            ``elsewhere, same size``, over that of all weights of the sites.
    """

    name: str
    persona: str
    pruned_share: float
    axis: ProbeAxis
    base_rate: float
    base_perplexity: float
    arms: tuple[ArmEffect, ...]
    curves: dict[str, tuple[Point, ...]]
    refused: dict[str, str] = field(default_factory=dict)
    moves: bool = True
    mean_size: dict[str, float] = field(default_factory=dict)

    def area(self, order: str) -> float | None:
        """Return the area under a curve of the margin's effect, as a share of the whole effect.

        1/2 is an effect in proportion to the share; close to 1, the first weights carry it all.
        None where there is no such curve, or the mask does not move the margin (`moves`).
        """
        curve = self._relative(order)
        if curve is None:
            return None
        x, y = curve
        return float(np.trapezoid(y, x))

    def top_share(self, order: str = "ranking") -> float | None:
        """Return the share of the effect that the first tenth of the mask carries; or None."""
        curve = self._relative(order)
        return None if curve is None else float(np.interp(TOP, *curve))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "mask": self.name,
            "persona": self.persona,
            "pruned_share": self.pruned_share,
            "axis": self.axis.name,
            "questions": len(self.axis.items),
            "base_rate": self.base_rate,
            "base_perplexity": self.base_perplexity,
            "arms": [arm.to_json() for arm in self.arms],
            "curves": {
                order: {
                    "points": [point.to_json() for point in points],
                    "area": self.area(order),
                    "share_of_effect_of_first_tenth": self.top_share(order),
                }
                for order, points in self.curves.items()
            },
            "moves": self.moves,
            "mean_size": self.mean_size,
            "refused": self.refused,
        }

    def _relative(self, order: str) -> tuple[list[float], list[float]] | None:
        points = self.curves.get(order)
        if not points or not self.moves:
            return None
        none, whole = points[0].margin, points[-1].margin
        if whole == none:
            return None
        return [p.share for p in points], [(p.margin - none) / (whole - none) for p in points]


def faithfulness(
    probe: Probe,
    name: str,
    subnetwork: Subnetwork,
    axis: ProbeAxis,
    *,
    opposite: Subnetwork | None = None,
    shares: Sequence[float] = SHARES,
    draws: int = DRAWS,
    seed: int = 0,
    report: Report | None = None,
) -> Faithfulness:
    """Measure a mask, its parts and its controls on the persona's own axis.

    Arms: ``whole``; ``only KIND`` (just the pruned weights of attention, or of the MLPs);
    ``only layers A-B`` and ``without layers A-B``; ``elsewhere`` (as many weights of the same
    sites, drawn from those that the mask keeps) and ``elsewhere, same size`` (the same, of the
    same absolute value); with ``opposite`` also its whole mask and ``layers A-B from the
    opposite``.

    Args:
        probe: Asks the model; with general text.
        name: What to call the mask.
        subnetwork: The mask.
        axis: What to ask; the persona is one of its poles.
        opposite: Mask of the opposite persona, of the same criterion.
        shares: Shares of the mask that the curves measure, besides 0 and 1.
        draws: Draws of every random control.
        seed: Seeds draws, orders, intervals and tests.
        report: Called with (stage, done, total).

    Raises:
        OptionError: The persona is no pole of the axis, the mask prunes nothing, a share is
            outside (0, 1), or there are no draws.
        SubnetworkError: A mask belongs to another model.
    """
    if axis.toward(subnetwork.config.persona) == 0:
        raise OptionError(
            f"{name}: its persona {subnetwork.config.persona!r} is no pole of the axis "
            f"{axis.name!r} ({axis.target}, {axis.opposite})"
        )
    if not subnetwork.pruned:
        raise OptionError(f"{name}: the mask prunes nothing, so there is nothing to explain")
    if draws < 1 or not all(0 < share < 1 for share in shares):
        raise OptionError("faithfulness needs at least one draw, and shares between 0 and 1")
    masks_of, refused = _masks(probe, subnetwork, opposite, draws, seed)
    orders = ["ranking", "random"] if subnetwork.levels is not None else ["random"]
    bench = _Bench(probe, axis, subnetwork.config.persona, seed)
    steps = sum(map(len, masks_of.values())) + len(orders) * len(shares)
    done = iter(range(1, steps + 1))

    def measured(mask: Subnetwork) -> tuple[Choices, float]:
        measures = bench.measure(mask)
        if report is not None:
            report(f"faithfulness {name}", next(done), steps)
        return measures

    measures = {arm: [measured(mask) for mask in masks] for arm, masks in masks_of.items()}
    whole = measures["whole"][0]
    curves = {}
    for order in orders:
        points = [_point(0.0, bench.base, bench)]
        for share in sorted(shares):
            part = parts.prefix(subnetwork, share, ranked=order == "ranking", seed=seed)
            points.append(_point(part.pruned / subnetwork.pruned, measured(part), bench))
        curves[order] = (*points, _point(1.0, whole, bench))
    change = effect(whole[0], bench.base[0], seed=seed).margin.difference
    moves = change.low > 0 or change.high < 0
    gain = change.mean if moves else None
    return Faithfulness(
        name=name,
        persona=subnetwork.config.persona,
        pruned_share=subnetwork.pruned_share,
        axis=axis,
        base_rate=bench.base[0].rate,
        base_perplexity=bench.base[1],
        arms=tuple(bench.arm(arm, masks_of[arm], rows, gain) for arm, rows in measures.items()),
        curves=curves,
        refused=refused,
        moves=moves,
        mean_size=_sizes(probe, masks_of),
    )


class _Bench:
    """Measures toward the persona, and against the base."""

    def __init__(self, probe: Probe, axis: ProbeAxis, persona: str, seed: int) -> None:
        self.probe, self.axis, self.seed = probe, axis, seed
        self.sign = axis.toward(persona)
        self.base = self.measure(None)

    def measure(self, mask: Subnetwork | None) -> tuple[Choices, float]:
        choices, loss = self.probe.measure(mask, self.axis)
        if self.sign > 0:
            return choices, loss
        wins, margins = tuple(1 - win for win in choices.wins), tuple(-m for m in choices.margins)
        return Choices(wins, margins), loss

    def arm(
        self, name: str, masks: Sequence[Subnetwork], measures: Sequence[tuple[Choices, float]],
        gain: float | None,
    ) -> ArmEffect:  # fmt: skip
        base, loss = self.base
        change = effect(mean_choices([choices for choices, _ in measures]), base, seed=self.seed)
        changes = tuple(choices.margin - base.margin for choices, _ in measures)
        return ArmEffect(
            name=name,
            pruned=math.fsum(mask.pruned for mask in masks) / len(masks),
            effect=change,
            perplexity_ratio=math.fsum(lost for _, lost in measures) / len(measures) / loss,
            draws=changes,
            faithful=change.margin.difference.mean / gain if gain else None,
        )


def _masks(
    probe: Probe, whole: Subnetwork, opposite: Subnetwork | None, draws: int, seed: int
) -> tuple[dict[str, list[Subnetwork]], dict[str, str]]:
    """Return the masks of every arm, and why an arm has none."""
    masks_of: dict[str, list[Subnetwork]] = {"whole": [whole]}
    refused: dict[str, str] = {}
    for kind in dict.fromkeys(role(site) for site in whole.sites):
        masks_of[f"only {kind}"] = [parts.only(whole, lambda site, kind=kind: role(site) == kind)]  # type: ignore[misc]
    ranges = parts.layer_ranges(whole, RANGES)
    for first, last in ranges if len(ranges) > 1 else []:
        inside = parts.in_layers(first, last)
        words = f"layers {first}-{last}" if last > first else f"layer {first}"
        masks_of[f"only {words}"] = [parts.only(whole, inside)]
        masks_of[f"without {words}"] = [parts.only(whole, lambda site, i=inside: not i(site))]  # type: ignore[misc]
        if opposite is not None:
            masks_of[f"{words} from the opposite"] = [parts.swapped(whole, opposite, inside)]
    if opposite is not None:
        masks_of["opposite"] = [opposite]
    sites = {site.name: site for site in find_sites(probe.model, targets=list(whole.sites))}
    seeds = [seed + draw for draw in range(draws)]
    try:
        masks_of["elsewhere"] = [parts.elsewhere(whole, seed=s) for s in seeds]
        masks_of["elsewhere, same size"] = [
            parts.elsewhere_alike(whole, sites, seed=s) for s in seeds
        ]
    except OptionError as error:
        refused["elsewhere"] = str(error)
    return masks_of, refused


def _sizes(probe: Probe, masks_of: dict[str, list[Subnetwork]]) -> dict[str, float]:
    whole = masks_of["whole"][0]
    sites = {site.name: site for site in find_sites(probe.model, targets=list(whole.sites))}
    total = math.fsum(float(s.matrix().double().abs().sum()) for s in sites.values())
    mean = total / whole.total
    wanted = ("whole", "elsewhere", "elsewhere, same size")
    sizes = {arm: parts.mean_size(masks_of[arm][0], sites) for arm in wanted if arm in masks_of}
    return {arm: size / mean for arm, size in sizes.items() if size is not None}


def _point(share: float, measures: tuple[Choices, float], bench: _Bench) -> Point:
    choices, loss = measures
    return Point(share, choices.rate, choices.margin, loss / bench.base[1])
