"""Conclusions in words, no stronger than the intervals."""

from __future__ import annotations

from collections.abc import Sequence

from prosopon.compare.summary import Comparison, Row, Summary

SAYING = {
    "choice": "choice rate",
    "text: target": "share of free answers that are the persona's",
    "neutral": "neutral questions answered right",
    "general ppl": "nats per token of general text",
}
GAIN = ("choice", "text: target")


def conclusions(summary: Summary) -> list[str]:
    """Return sentences, each of which its test carries."""
    masks = [row for row in summary.rows if row.kind == "mask"]
    told = []
    for row in masks:
        told += _about(row, summary.comparisons)
    told += _controls(summary)
    return told


def sentence(test: Comparison) -> str:
    """Say what a test shows: a direction only where it is shown."""
    what, gap = SAYING.get(test.column, test.column), test.difference
    numbers = f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}], Holm p {_p(test.adjusted)}"
    if not test.shown:
        return f"{what}: no difference shown against {test.against} ({numbers})"
    word = "higher" if gap.mean > 0 else "lower"
    return f"{what}: {word} than {test.against} ({numbers})"


def _about(row: Row, tests: Sequence[Comparison]) -> list[str]:
    own = [test for test in tests if test.arm == row.arm]
    if not own:
        return []
    parts = [sentence(test) for test in own]
    return [f"{row.arm}. " + "; ".join(parts) + "."]


def _controls(summary: Summary) -> list[str]:
    """Say which controls score on the choice without knowing the persona."""
    found = []
    for row in summary.rows:
        choice = row.figures.get("choice")
        if row.kind == "control" and choice is not None and choice.low > 0.5:
            found.append(
                f"The control {row.arm} alone gives a choice rate of {choice.mean:.3f} "
                f"[{choice.low:.3f}, {choice.high:.3f}]: a choice rate of that size says nothing "
                "of a persona here."
            )
    return found


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
