"""The whole analysis of some masks of one model, as sections and as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from prosopon.analysis.crosstalk import cross_talk
from prosopon.analysis.dendrogram import cluster_pairs
from prosopon.analysis.faithfulness import DRAWS, SHARES, faithfulness
from prosopon.analysis.location import locate
from prosopon.analysis.overlap import overlaps
from prosopon.analysis.probe import Axis, Probe
from prosopon.analysis.sections import (
    Section,
    cross_talk_section,
    faithfulness_sections,
    location_sections,
    overlap_sections,
)
from prosopon.errors import OptionError
from prosopon.files import finite, write_json, write_text
from prosopon.models import find_sites
from prosopon.progress import Report
from prosopon.runtime.matching import check_belongs
from prosopon.subnetwork import Subnetwork

Part = Literal["overlap", "location", "cross-talk", "faithfulness"]
PARTS: tuple[Part, ...] = get_args(Part)
"""What an analysis can do. The last two wear the masks, so they need a model and questions."""

WORN: tuple[Part, ...] = ("cross-talk", "faithfulness")


@dataclass(frozen=True)
class Analysis:
    """What was found.

    Attributes:
        sections: For people, in order.
        numbers: Every number of every figure, as JSON values.
    """

    sections: tuple[Section, ...]
    numbers: Mapping[str, Any]

    def markdown(self, title: str = "Masks explained") -> str:
        """Return all sections as one Markdown page that links the figures."""
        return f"# {title}\n\n" + "\n".join(section.markdown() for section in self.sections)

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``explain.md``, a figure for each section that has one, and ``analysis.json``.

        Each file is whole or not there at all.

        Returns:
            The paths, the page first.
        """
        folder = Path(folder)
        paths = [folder / "explain.md", folder / "analysis.json"]
        for section in self.sections:
            if section.svg:
                paths.append(folder / f"{section.id}.svg")
                write_text(paths[-1], section.svg + "\n")
        write_text(paths[0], self.markdown())
        write_json(paths[1], self.numbers)
        return paths


def analyse(
    subnetworks: Mapping[str, Subnetwork],
    *,
    parts: Sequence[Part] | None = None,
    probe: Probe | None = None,
    axes: Sequence[Axis] = (),
    shares: Sequence[float] = SHARES,
    draws: int = DRAWS,
    seed: int = 0,
    report: Report | None = None,
) -> Analysis:
    """Explain masks of one model: what they share, where they lie, what they do.

    Args:
        subnetworks: Masks by name.
        parts: What to do, of `PARTS`; None is whatever the arguments allow.
        probe: Asks the model, with general text; for what wears the masks.
        axes: What to ask. A mask's faithfulness is asked on the axis of its persona; a persona
            without one has no faithfulness, and the numbers say so.
        shares: Shares of a mask that the curves of faithfulness measure.
        draws: Draws of every random control.
        seed: Seeds everything drawn.
        report: Called with (stage, done, total).

    Raises:
        OptionError: No masks, an unknown part, or one that the arguments do not allow.
        SubnetworkError: The masks belong to different models, or not to the probe's.
    """
    if not subnetworks:
        raise OptionError("there is no mask to explain")
    wanted = _parts(parts, len(subnetworks), probe is not None and bool(axes))
    if probe is not None:
        sites = find_sites(probe.model)
        for one in subnetworks.values():
            check_belongs(one, sites)
    sections: list[Section] = []
    numbers: dict[str, Any] = {"masks": {name: _mask(one) for name, one in subnetworks.items()}}
    if "overlap" in wanted:
        pairs = overlaps(subnetworks)
        opposed = [
            pair for pair in pairs if _opposed(subnetworks[pair.first], subnetworks[pair.second])
        ]
        sections += overlap_sections(list(subnetworks), pairs, opposed)
        numbers["overlap"] = [pair.to_json() | {"opposites": pair in opposed} for pair in pairs]
        numbers["clustering"] = cluster_pairs(list(subnetworks), pairs).to_json()
    if "location" in wanted:
        places = {name: locate(one, seed=seed) for name, one in subnetworks.items()}
        sections += location_sections(places)
        numbers["location"] = {name: place.to_json() for name, place in places.items()}
    if probe is not None and "cross-talk" in wanted:
        talk = cross_talk(probe, subnetworks, axes, seed=seed, report=report)
        sections.append(cross_talk_section(talk))
        numbers["cross_talk"] = talk.to_json()
    if probe is not None and "faithfulness" in wanted:
        asked, silent = _askable(subnetworks, axes)
        found = [
            faithfulness(
                probe, name, subnetworks[name], axis, opposite=_opposite(name, subnetworks),
                shares=shares, draws=draws, seed=seed, report=report,
            )
            for name, axis in asked.items()
        ]  # fmt: skip
        if found:
            sections += faithfulness_sections(found)
        numbers["faithfulness"] = [each.to_json() for each in found]
        numbers["faithfulness_not_asked"] = silent
    return Analysis(tuple(sections), finite(numbers))


def _parts(parts: Sequence[Part] | None, masks: int, askable: bool) -> list[Part]:
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


def _askable(
    subnetworks: Mapping[str, Subnetwork], axes: Sequence[Axis]
) -> tuple[dict[str, Axis], list[str]]:
    """Return each mask's own axis, and the masks that have none or prune nothing."""
    asked, silent = {}, []
    for name, one in subnetworks.items():
        own = next((axis for axis in axes if axis.toward(one.config.persona)), None)
        if own is None or not one.pruned:
            silent.append(name)
        else:
            asked[name] = own
    return asked, silent


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


def _mask(one: Subnetwork) -> dict[str, Any]:
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
