"""The whole analysis of some masks of one model: measured, told, and written to a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prosopon.analysis.faithfulness import DRAWS, SHARES
from prosopon.analysis.findings import AnalysisPart, measure
from prosopon.analysis.probe import Probe, ProbeAxis
from prosopon.analysis.sections import Section, plain, tell
from prosopon.files import write_json, write_text
from prosopon.progress import Report
from prosopon.subnetwork import Subnetwork


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
        return f"# {plain(title)}\n\n" + "\n".join(section.markdown() for section in self.sections)

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
    findings = measure(
        subnetworks, parts=parts, probe=probe, axes=axes, shares=shares, draws=draws, seed=seed,
        report=report,
    )  # fmt: skip
    return Analysis(tuple(tell(findings)), findings.to_json())
