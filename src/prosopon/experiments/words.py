"""Conclusions in words, no stronger than the intervals."""

from __future__ import annotations

from prosopon.experiments.summary import Comparison, Summary

SAYING = {
    "choice": "choice rate",
    "text: target": "share of free answers that are the persona's",
    "neutral": "neutral questions answered right",
    "general ppl": "nats per token of general text",
}
ASKED = (
    ("text: target", "base"), ("text: target", "prompt"), ("choice", "base"),
    ("general ppl", "base"), ("neutral", "base"),
)  # fmt: skip
"""What is said of an arm, in this order; every other test is in the table of tests."""


def conclusions(summary: Summary) -> list[tuple[str, list[str]]]:
    """Return (arm, sentences), each sentence carried by its test; then what controls give away."""
    told = []
    for row in summary.rows:
        if row.kind in ("mask", "training", "prompting"):
            tests = {(t.column, t.against): t for t in summary.comparisons if t.arm == row.arm}
            sentences = [sentence(tests[each]) for each in ASKED if each in tests]
            if sentences:
                told.append((row.arm, sentences))
    given_away = _controls(summary)
    return [*told, ("controls", given_away)] if given_away else told


def sentence(test: Comparison) -> str:
    """Say what a test shows: a direction only where it is shown."""
    what, gap = SAYING.get(test.column, test.column), test.difference
    numbers = f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}], Holm p {_p(test.adjusted)}"
    if not test.shown:
        return f"{what}: no difference shown against {test.against} ({numbers})"
    word = "higher" if gap.mean > 0 else "lower"
    return f"{what}: {word} than {test.against} ({numbers})"


def _controls(summary: Summary) -> list[str]:
    """Say which controls score on the choice without knowing the persona."""
    found = []
    for row in summary.rows:
        choice = row.figures.get("choice")
        if row.kind == "control" and choice is not None and choice.low > 0.5:
            found.append(
                f"{row.arm} alone gives a choice rate of {choice.mean:.3f} "
                f"[{choice.low:.3f}, {choice.high:.3f}]: a choice rate of that size says nothing "
                "of a persona here."
            )
    return found


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
