"""The analysis of an arm's masks, as sections of the report."""

from pathlib import Path

from prosopon.analysis import AnalysisPart, Probe, analyse, bundled_axes
from prosopon.experiments.report import ReportSection
from prosopon.experiments.runner import Runner
from prosopon.progress import Report


def explain_masks(
    runner: Runner, arm: str | None, folder: Path, report: Report | None = None
) -> list[ReportSection]:
    """Return the analysis of an arm's masks; none where it did not run.

    Overlap takes two masks; cross-talk the embedded model's axes.

    Args:
        runner: After its run.
        arm: The arm; None for none.
        folder: Where the analysis is written.
        report: Called with (stage, done, total).
    """
    if arm is None or arm not in runner.plan.arms:
        return []
    masks = runner.masks(arm)
    parts: list[AnalysisPart] = ["overlap"] if len(masks) > 1 else []
    parts += ["location"] if masks else []
    bundled = all(contrast.bundled for contrast in runner.contrasts.values())
    if masks and bundled:
        parts.append("cross-talk")
    if not parts:
        return []
    extractor = runner.extractor(runner.plan.seeds[0])
    analysis = analyse(
        masks, parts=parts, report=report,
        probe=Probe(extractor.model, extractor.tokenizer, runner.general()) if bundled else None,
        axes=bundled_axes(runner.plan.sizes.questions) if bundled else (),
    )  # fmt: skip
    analysis.write(folder)
    return [
        ReportSection(f"explain-{section.id}", f"{arm}: {section.title}", section.svg, section.text)
        for section in analysis.sections
        if section.svg
    ]
