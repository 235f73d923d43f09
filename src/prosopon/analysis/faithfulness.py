"""Is a mask a faithful explanation? What its parts do, what other weights do in their place."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

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
from prosopon.models import Site, find_sites, role
from prosopon.progress import Report
from prosopon.subnetwork import Subnetwork

SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
"""Shares of the mask applied that a curve measures, besides none and all of it."""

DRAWS = 3
"""Draws of every random control."""

RANGES = 4
"""Parts that the layers are split into."""

TOP = 0.1
SAME_SIZE = "elsewhere, same size"


@dataclass(frozen=True)
class ArmEffect:
    """What one arm does."""

    name: str  # of the arm
    pruned: float  # weights pruned, the mean over draws
    # against the base, toward the persona: choice rate and margin, with intervals over questions.
    # Draws are averaged question by question.
    effect: Effect
    perplexity_ratio: float  # of general text, over the base's; the mean over draws
    draws: tuple[float, ...]  # margin effects of single draws; one where nothing is drawn
    # share of the whole mask's margin effect that the arm has. None where that effect cannot be
    # told from none, see :attr:`Faithfulness.moves`.
    faithful: float | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "arm": self.name,
            "pruned": self.pruned,
            "rate": paired_json(self.effect.rate),
            "margin": paired_json(self.effect.margin),
            "margin_by_draw": list(self.draws),
            "share_of_effect": self.faithful,
            "perplexity_ratio": self.perplexity_ratio,
        }


class Point(NamedTuple):
    """A point of a curve: what a share of the mask's pruned weights does."""

    share: float  # of the pruned weights
    rate: float  # choice rate, toward the persona
    margin: float  # margin in nats per token, toward the persona
    perplexity_ratio: float  # of general text, over the base's


@dataclass(frozen=True)
class Faithfulness:
    """The test of one mask as an explanation."""

    name: str  # of the mask
    persona: str  # that it is of
    pruned_share: float  # share of the sites' weights that it prunes
    axis: ProbeAxis  # what was asked
    base_rate: float  # choice rate of the base, toward the persona
    base_perplexity: float  # of general text
    arms: tuple[ArmEffect, ...]  # whole mask, its parts, its controls
    # over the share of the mask applied, by the order that it is applied in: ``ranking`` (where the
    # mask has one) and ``random``
    curves: dict[str, tuple[Point, ...]]
    # why an arm could not be run, by its name
    refused: dict[str, str] = field(default_factory=dict)
    # whether the interval of the whole mask's margin effect leaves out 0. Shares of an effect that
    # may be none mean nothing, so where it does not there are none.
    moves: bool = True
    # mean absolute value of the weights pruned by ``whole``, ``elsewhere`` and ``elsewhere, same
    # size``, over that of all weights of the sites
    mean_size: dict[str, float] = field(default_factory=dict)

    @property
    def whole(self) -> ArmEffect:
        """The effect of the whole mask."""
        return next(arm for arm in self.arms if arm.name == "whole")

    def area(self, order: str) -> float | None:
        """Return the area under a curve of the margin's effect, as a share of the whole effect.

        1/2 is an effect in proportion to the share; close to 1, the first weights carry it all.
        None where there is no such curve, or the mask does not move the margin (`moves`).
        """
        curve = self._relative(order)
        return None if curve is None else float(np.trapezoid(curve[1], curve[0]))

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
                    "points": [point._asdict() for point in points],
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
        none, gain = points[0].margin, points[-1].margin - points[0].margin
        if not gain:
            return None
        return [p.share for p in points], [(p.margin - none) / gain for p in points]


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
        draws: Of every random control.
        seed: Of draws, orders, intervals and tests.
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
    sites = {site.name: site for site in find_sites(probe.model, targets=list(subnetwork.sites))}
    masks_of, refused = _masks(subnetwork, opposite, sites, [seed + draw for draw in range(draws)])
    orders = ["ranking", "random"] if subnetwork.levels is not None else ["random"]
    sign = axis.toward(subnetwork.config.persona)
    base, base_perplexity = probe.measure(None, axis)
    base = base.toward(sign)
    steps = sum(map(len, masks_of.values())) + len(orders) * len(shares)
    done = itertools.count(1)

    def measure(mask: Subnetwork) -> tuple[Choices, float]:
        choices, perplexity = probe.measure(mask, axis)
        if report is not None:
            report(f"faithfulness {name}", next(done), steps)
        return choices.toward(sign), perplexity / base_perplexity

    measures = {arm: [measure(mask) for mask in masks] for arm, masks in masks_of.items()}
    curves = {}
    for order in orders:
        points = [_point(0.0, base, 1.0)]
        for share in sorted(shares):
            part = parts.prefix(subnetwork, share, ranked=order == "ranking", seed=seed)
            points.append(_point(part.pruned / subnetwork.pruned, *measure(part)))
        curves[order] = (*points, _point(1.0, *measures["whole"][0]))
    change = effect(measures["whole"][0][0], base, seed=seed).margin.difference
    moves = change.low > 0 or change.high < 0

    def arm_effect(arm: str, rows: list[tuple[Choices, float]]) -> ArmEffect:
        several = [choices for choices, _ in rows]
        arm_change = effect(mean_choices(several), base, seed=seed)
        return ArmEffect(
            name=arm,
            pruned=fmean(mask.pruned for mask in masks_of[arm]),
            effect=arm_change,
            perplexity_ratio=fmean(ratio for _, ratio in rows),
            draws=tuple(choices.margin - base.margin for choices in several),
            faithful=arm_change.margin.difference.mean / change.mean if moves else None,
        )

    return Faithfulness(
        name=name,
        persona=subnetwork.config.persona,
        pruned_share=subnetwork.pruned_share,
        axis=axis,
        base_rate=base.rate,
        base_perplexity=base_perplexity,
        arms=tuple(arm_effect(arm, rows) for arm, rows in measures.items()),
        curves=curves,
        refused=refused,
        moves=moves,
        mean_size=_sizes(masks_of, sites),
    )


def _point(share: float, choices: Choices, perplexity_ratio: float) -> Point:
    return Point(share, choices.rate, choices.margin, perplexity_ratio)


def _masks(
    whole: Subnetwork, opposite: Subnetwork | None, sites: Mapping[str, Site], seeds: Sequence[int]
) -> tuple[dict[str, list[Subnetwork]], dict[str, str]]:
    """Return the masks of every arm, and why an arm has none."""
    masks_of: dict[str, list[Subnetwork]] = {"whole": [whole]}
    for kind in dict.fromkeys(map(role, whole.sites)):
        masks_of[f"only {kind}"] = [parts.only(whole, [s for s in whole.sites if role(s) == kind])]
    ranges = parts.layer_ranges(whole, RANGES)
    for first, last in ranges if len(ranges) > 1 else []:
        inside = parts.in_layers(whole, first, last)
        outside = [site for site in whole.sites if site not in inside]
        words = f"layers {first}-{last}" if last > first else f"layer {first}"
        masks_of[f"only {words}"] = [parts.only(whole, inside)]
        masks_of[f"without {words}"] = [parts.only(whole, outside)]
        if opposite is not None:
            masks_of[f"{words} from the opposite"] = [parts.swap(whole, opposite, inside)]
    if opposite is not None:
        masks_of["opposite"] = [opposite]
    try:
        masks_of["elsewhere"] = [parts.elsewhere(whole, seed=seed) for seed in seeds]
        masks_of[SAME_SIZE] = [parts.elsewhere(whole, sites, seed=seed) for seed in seeds]
    except OptionError as error:
        return masks_of, {"elsewhere": str(error)}
    return masks_of, {}


def _sizes(
    masks_of: Mapping[str, Sequence[Subnetwork]], sites: Mapping[str, Site]
) -> dict[str, float]:
    """Return the mean size of what some arms prune, over that of all weights."""
    total = math.fsum(float(site.matrix().double().abs().sum()) for site in sites.values())
    mean = total / masks_of["whole"][0].total
    arms = ("whole", "elsewhere", SAME_SIZE)
    sizes = {arm: parts.mean_size(masks_of[arm][0], sites) for arm in arms if arm in masks_of}
    return {arm: size / mean for arm, size in sizes.items() if size is not None}
