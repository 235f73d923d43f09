"""What masks share, where they lie, what they do: measured, as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from prosopon.analysis.crosstalk import CrossTalk, cross_talk
from prosopon.analysis.dendrogram import cluster_pairs
from prosopon.analysis.faithfulness import DRAWS, SHARES, Faithfulness, faithfulness
from prosopon.analysis.location import Location, locate
from prosopon.analysis.overlap import PairOverlap, overlaps
from prosopon.analysis.probe import Probe, ProbeAxis
from prosopon.errors import OptionError
from prosopon.files import finite
from prosopon.models import find_sites
from prosopon.progress import Report
from prosopon.runtime.membership import check_belongs
from prosopon.subnetwork import Subnetwork

AnalysisPart = Literal["overlap", "location", "cross-talk", "faithfulness"]
PARTS: tuple[AnalysisPart, ...] = get_args(AnalysisPart)
"""What an analysis can do. The last two wear the masks, so they need a model and questions."""

WORN: tuple[AnalysisPart, ...] = ("cross-talk", "faithfulness")


@dataclass(frozen=True)
class Findings:
    """Numbers of an analysis; what was not asked for is empty.

    Attributes:
        masks: What each mask is, as JSON objects by name.
        pairs: Overlap of every two masks.
        opposed: Those of a persona and its opposite.
        places: Where each mask prunes.
        talk: What each mask does to every axis.
        tests: Faithfulness of each mask that was asked.
        silent: Masks whose faithfulness could not be asked; None where none was to be.
    """

    masks: Mapping[str, Mapping[str, Any]]
    pairs: Sequence[PairOverlap] = ()
    opposed: Sequence[PairOverlap] = ()
    places: Mapping[str, Location] = field(default_factory=dict)
    talk: CrossTalk | None = None
    tests: Sequence[Faithfulness] = ()
    silent: Sequence[str] | None = None

    @property
    def names(self) -> list[str]:
        """Names of the masks."""
        return list(self.masks)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object with every number; NaN and infinities are null."""
        numbers: dict[str, Any] = {"masks": self.masks}
        if self.pairs:
            numbers["overlap"] = [
                pair.to_json() | {"opposites": pair in self.opposed} for pair in self.pairs
            ]
            numbers["clustering"] = cluster_pairs(self.names, self.pairs).to_json()
        if self.places:
            numbers["location"] = {name: place.to_json() for name, place in self.places.items()}
        if self.talk is not None:
            numbers["cross_talk"] = self.talk.to_json()
        if self.silent is not None:
            numbers["faithfulness"] = [test.to_json() for test in self.tests]
            numbers["faithfulness_not_asked"] = list(self.silent)
        values: dict[str, Any] = finite(numbers)
        return values


def measure(
    subnetworks: Mapping[str, Subnetwork],
    *,
    parts: Sequence[AnalysisPart] | None = None,
    probe: Probe | None = None,
    axes: Sequence[ProbeAxis] = (),
    shares: Sequence[float] = SHARES,
    draws: int = DRAWS,
    seed: int = 0,
    report: Report | None = None,
) -> Findings:
    """Measure masks of one model: what they share, where they lie, what they do.

    For arguments and errors see :func:`prosopon.analysis.analyse`.
    """
    if not subnetworks:
        raise OptionError("there is no mask to explain")
    wanted = _choose_parts(parts, len(subnetworks), probe is not None and bool(axes))
    if probe is not None:
        sites = find_sites(probe.model)
        for mask in subnetworks.values():
            check_belongs(mask, sites)
    pairs = overlaps(subnetworks) if "overlap" in wanted else []
    places = {}
    if "location" in wanted:
        places = {name: locate(mask, seed=seed) for name, mask in subnetworks.items()}
    talk, tests, silent = None, [], None
    if probe is not None and "cross-talk" in wanted:
        talk = cross_talk(probe, subnetworks, axes, seed=seed, report=report)
    if probe is not None and "faithfulness" in wanted:
        own_axes, silent = _own_axes(subnetworks, axes)
        tests = [
            faithfulness(
                probe, name, subnetworks[name], axis, opposite=_opposite(name, subnetworks),
                shares=shares, draws=draws, seed=seed, report=report,
            )
            for name, axis in own_axes.items()
        ]  # fmt: skip
    return Findings(
        masks={name: _describe(mask) for name, mask in subnetworks.items()},
        pairs=pairs,
        opposed=[p for p in pairs if _opposed(subnetworks[p.first], subnetworks[p.second])],
        places=places,
        talk=talk,
        tests=tests,
        silent=silent,
    )


def _choose_parts(
    parts: Sequence[AnalysisPart] | None, masks: int, askable: bool
) -> list[AnalysisPart]:
    """Return what to do, or say why it cannot be done."""
    if parts is None:
        return [
            part for part in PARTS
            if (askable or part not in WORN) and (masks > 1 or part != "overlap")
        ]  # fmt: skip
    for part in parts:
        if part not in PARTS:
            raise OptionError(f"unknown part {part!r}. Choices: {', '.join(PARTS)}")
        if part in WORN and not askable:
            raise OptionError(f"{part} wears the masks: it needs a model and questions to ask")
        if part == "overlap" and masks < 2:
            raise OptionError("overlap needs at least two masks; there is one")
    return list(parts)


def _own_axes(
    subnetworks: Mapping[str, Subnetwork], axes: Sequence[ProbeAxis]
) -> tuple[dict[str, ProbeAxis], list[str]]:
    """Return each mask's own axis, and the masks that have none or prune nothing."""
    axes_of, silent = {}, []
    for name, one in subnetworks.items():
        own = next((axis for axis in axes if axis.toward(one.config.persona)), None)
        if own is None or not one.pruned:
            silent.append(name)
        else:
            axes_of[name] = own
    return axes_of, silent


def _opposed(first: Subnetwork, second: Subnetwork) -> bool:
    """Tell whether two masks are those of a persona and its opposite."""
    ours, theirs = first.config, second.config
    return ours.persona == theirs.opposite or theirs.persona == ours.opposite


def _opposite(name: str, subnetworks: Mapping[str, Subnetwork]) -> Subnetwork | None:
    """Return the mask of the opposite persona, of the same criterion, where there is one."""
    ours = subnetworks[name]
    return next(
        (
            other
            for other in subnetworks.values()
            if other is not ours
            and _opposed(ours, other)
            and other.config.criterion == ours.config.criterion
        ),
        None,
    )


def _describe(one: Subnetwork) -> dict[str, Any]:
    config = one.config
    return {
        "persona": config.persona,
        "opposite": config.opposite,
        "criterion": config.criterion,
        "base_model": config.base_model,
        "pruned": one.pruned,
        "total": one.total,
        "content_hash": one.content_hash(),
    }
