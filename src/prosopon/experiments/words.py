"""Conclusions in words, no stronger than the intervals."""

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

SAME = 0.02
"""Shares that differ by less are one figure to a reader."""


def conclusions(summary: Summary) -> list[tuple[str, list[str]]]:
    """Return (arm, sentences), each sentence carried by its test; then what controls give away."""
    pages = []
    for row in summary.rows:
        if row.kind in ("mask", "training", "prompting"):
            tests = {(t.column, t.against): t for t in summary.comparisons if t.arm == row.arm}
            sentences = [sentence(tests[pair]) for pair in ASKED if pair in tests]
            if sentences:
                pages.append((row.arm, sentences))
    controls = _controls(summary)
    return [*pages, ("controls", controls)] if controls else pages


def remarks(summary: Summary) -> list[str]:
    """Return what a reader of the table has to know: columns and arms that say nothing."""
    return [*_mute_columns(summary), *_idle_arms(summary)]


def _mute_columns(summary: Summary) -> list[str]:
    """Name the columns in which controls that know nothing do as well as any arm."""
    lines = []
    for column in summary.columns:
        arms, controls = list[float](), list[float]()
        for row in summary.rows:
            cell = row.figures.get(column.name)
            if cell is not None:
                (controls if row.kind in ("base", "control") else arms).append(cell.mean)
        if column.better != "higher" or column.loss or not arms or len(controls) < 2:
            continue
        if min(controls) >= max(arms) - SAME:
            lines.append(
                f"{column.name}: the base and every control have the arms' figure "
                f"({min(controls):.3f} and more, against {max(arms):.3f} at most): the column "
                "measures nothing of the persona here."
            )
    return lines


def _idle_arms(summary: Summary) -> list[str]:
    """Name the arms that equal the base in every column."""
    base = next((row for row in summary.rows if row.kind == "base"), None)
    lines = []
    for row in summary.rows if base else ():
        assert base is not None
        shared = [
            (cell.mean, other.mean)
            for name in summary.headings()
            if (cell := row.figures.get(name)) and (other := base.figures.get(name))
        ]
        if row is not base and shared and all(ours == theirs for ours, theirs in shared):
            lines.append(
                f"{row.arm}: equal to {base.arm} in every column: it changed no answer that was "
                "asked for."
            )
    return lines


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
    sentences = []
    for row in summary.rows:
        choice = row.figures.get("choice")
        if row.kind == "control" and choice is not None and choice.low > 0.5:
            sentences.append(
                f"{row.arm} alone gives a choice rate of {choice.mean:.3f} "
                f"[{choice.low:.3f}, {choice.high:.3f}]: a choice rate of that size says nothing "
                "of a persona here."
            )
    return sentences


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
