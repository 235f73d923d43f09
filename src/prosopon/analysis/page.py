"""The whole analysis of some masks of one model: measured, described, written to a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from prosopon.analysis.crosstalk import cross_talk
from prosopon.analysis.faithfulness import DRAWS, SHARES, Faithfulness, faithfulness
from prosopon.analysis.findings import (
    AnalysisPart,
    Findings,
    are_opposed,
    choose_parts,
    describe_mask,
    opposite,
    own_axes,
)
from prosopon.analysis.location import locate
from prosopon.analysis.overlap import overlaps
from prosopon.analysis.probe import Probe, ProbeAxis
from prosopon.analysis.sections import Section, describe, plain
from prosopon.errors import OptionError
from prosopon.files import write_json, write_text
from prosopon.models import find_sites
from prosopon.progress import Report
from prosopon.subnetwork import Subnetwork


@dataclass(frozen=True)
class Analysis:
    """What was measured, and how it is told."""

    findings: Findings  # the numbers. Nothing is drawn before the sections are read.

    @cached_property
    def sections(self) -> list[Section]:
        """For people, in order."""
        return describe(self.findings)

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """Every number of every figure, as JSON values."""
        return self.findings.to_json()

    def markdown(self, title: str = "Masks explained") -> str:
        """Return all sections as one Markdown page that links the figures."""
        return f"# {plain(title)}\n\n" + "\n".join(section.markdown() for section in self.sections)

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``explain.md``, a figure for each section that has one, and ``analysis.json``.

        Each file is whole or not there at all.

        Returns:
            The paths, the page first.
        """
        folder = Path(folder)
        figures = {folder / f"{one.id}.svg": one.svg for one in self.sections if one.svg}
        for path, svg in figures.items():
            write_text(path, svg + "\n")
        page, numbers = folder / "explain.md", folder / "analysis.json"
        write_text(page, self.markdown())
        write_json(numbers, self.numbers)
        return [page, numbers, *figures]


def analyse(
    subnetworks: Mapping[str, Subnetwork],
    *,
    parts: Sequence[AnalysisPart] | None = None,
    probe: Probe | None = None,
    axes: Sequence[ProbeAxis] = (),
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
    chosen = choose_parts(parts, len(subnetworks), probe is not None and bool(axes))
    if probe is not None:
        from prosopon.runtime.membership import check_belongs

        sites = find_sites(probe.model)
        for mask in subnetworks.values():
            check_belongs(mask, sites)
    pairs = overlaps(subnetworks) if "overlap" in chosen else []
    places = {}
    if "location" in chosen:
        places = {name: locate(mask, seed=seed) for name, mask in subnetworks.items()}
    talk, silent = None, None
    tests: list[Faithfulness] = []
    if probe is not None and "cross-talk" in chosen:
        talk = cross_talk(probe, subnetworks, axes, seed=seed, report=report)
    if probe is not None and "faithfulness" in chosen:
        axes_of, silent = own_axes(subnetworks, axes)
        tests = [
            faithfulness(
                probe, name, subnetworks[name], axis, opposite=opposite(name, subnetworks),
                shares=shares, draws=draws, seed=seed, report=report,
            )
            for name, axis in axes_of.items()
        ]  # fmt: skip
    masks = {name: describe_mask(mask) for name, mask in subnetworks.items()}
    opposed = [p for p in pairs if are_opposed(subnetworks[p.first], subnetworks[p.second])]
    return Analysis(Findings(masks, pairs, opposed, places, talk, tests, silent))
