"""What was measured of masks, as numbers, and what can be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from prosopon.analysis.crosstalk import CrossTalk
from prosopon.analysis.faithfulness import Faithfulness
from prosopon.analysis.location import Location
from prosopon.analysis.overlap import PairOverlap, cluster
from prosopon.analysis.probe import ProbeAxis
from prosopon.errors import OptionError
from prosopon.files import finite
from prosopon.subnetwork import Subnetwork

AnalysisPart = Literal["overlap", "location", "cross-talk", "faithfulness"]
PARTS: tuple[AnalysisPart, ...] = get_args(AnalysisPart)
"""What an analysis can do. The last two wear the masks, so they need a model and questions."""

WORN: tuple[AnalysisPart, ...] = ("cross-talk", "faithfulness")


@dataclass(frozen=True)
class Findings:
    """Numbers of an analysis; what was not asked for is empty."""

    masks: Mapping[str, Mapping[str, Any]]  # what each mask is, as JSON objects by name
    pairs: Sequence[PairOverlap] = ()  # overlap of every two masks
    opposed: Sequence[PairOverlap] = ()  # those of a persona and its opposite
    places: Mapping[str, Location] = field(default_factory=dict)  # where each mask prunes
    talk: CrossTalk | None = None  # what each mask does to every axis
    tests: Sequence[Faithfulness] = ()  # faithfulness of each mask that was asked
    # masks whose faithfulness could not be asked; None where none was to be
    silent: Sequence[str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object with every number; NaN and infinities are null."""
        numbers: dict[str, Any] = {"masks": self.masks}
        if self.pairs:
            numbers["overlap"] = [
                pair.to_json() | {"opposites": pair in self.opposed} for pair in self.pairs
            ]
            numbers["clustering"] = cluster(list(self.masks), self.pairs).to_json()
        if self.places:
            numbers["location"] = {name: place.to_json() for name, place in self.places.items()}
        if self.talk is not None:
            numbers["cross_talk"] = self.talk.to_json()
        if self.silent is not None:
            numbers["faithfulness"] = [test.to_json() for test in self.tests]
            numbers["faithfulness_not_asked"] = list(self.silent)
        values: dict[str, Any] = finite(numbers)
        return values


def choose_parts(
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
            raise OptionError(
                f"{part} wears the masks: it needs a model (--model) and questions (--target)"
            )
        if part == "overlap" and masks < 2:
            raise OptionError(
                "overlap needs at least two masks and there is one: give another, or ask for "
                "other parts (--parts location,cross-talk,faithfulness)"
            )
    return list(parts)


def own_axes(
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


def are_opposed(first: Subnetwork, second: Subnetwork) -> bool:
    """Tell whether two masks are those of a persona and its opposite."""
    ours, theirs = first.config, second.config
    return ours.persona == theirs.opposite or theirs.persona == ours.opposite


def opposite(name: str, subnetworks: Mapping[str, Subnetwork]) -> Subnetwork | None:
    """Return the mask of the opposite persona, of the same criterion, where there is one."""
    ours = subnetworks[name]
    for other in subnetworks.values():
        alike = other.config.criterion == ours.config.criterion
        if other is not ours and alike and are_opposed(ours, other):
            return other
    return None


def describe_mask(one: Subnetwork) -> dict[str, Any]:
    """Return what a mask is, as a JSON object."""
    names = ("persona", "opposite", "criterion", "base_model")
    counts = {"pruned": one.pruned, "total": one.total}
    origin = {name: getattr(one.config, name) for name in names}
    return origin | counts | {"content_hash": one.content_hash()}
