"""``table.md``: all arms, their figures with intervals, what was lost, what it cost."""

from collections.abc import Sequence

from prosopon.experiments.frontier import HELP, FrontierPoint
from prosopon.experiments.judge_lines import describe_judges
from prosopon.experiments.notes import notes_of
from prosopon.experiments.records import Record, unasked, unfinished
from prosopon.experiments.summary import Summary
from prosopon.experiments.words import conclusions, remarks, sentence
from prosopon.intervals import Interval

COSTS = {
    "seconds": "seconds of extraction, training or indexing, without what all personas share",
    "bytes": "bytes of the persona beside the base model",
    "added_tokens": "prompt tokens added to a request",
    "answer": "seconds of one whole answer, one request at a time",
    "tokens_per_second": "tokens a second of such a request",
    "pruned_share": "share of the sites' weights pruned",
}


def markdown(summary: Summary, records: Sequence[Record], notes: Sequence[str] = ()) -> str:
    """Return the page.

    Args:
        summary: What was found.
        records: All records.
        notes: What else a reader has to know of how it was made.
    """
    names, counts = summary.headings(), summary.counts()
    extent = f"{extent_of(summary)} Intervals are 95%, bootstrap over questions."
    lines = ["# Comparison", "", " ".join([extent, *map(_as_sentence, notes)]), ""]
    lines += [*(f"- {remark}" for remark in remarks(summary))]
    if summary.frontier:
        lines += ["", "## Persona at equal loss", "", *frontier_table(summary.frontier)]
        lines += ["", "## All measures", ""]
    rows = [[row.arm, *map(show, map(row.figures.get, names))] for row in summary.rows]
    lines += ["", *grid(["arm", *names], rows)]
    if any(row.over_seeds for row in summary.rows):
        lines += ["", "The same over seeds: means with half of a 95% t interval.", ""]
        rows = [[row.arm, *map(spread, map(row.over_seeds.get, names))] for row in summary.rows]
        lines += grid(["arm", *names], rows)
    lines += ["", "What an arm costs, means over personas and seeds:", ""]
    rows = [[row.arm, *(cost(name, row.costs.get(name)) for name in COSTS)] for row in summary.rows]
    lines += grid(["arm", *COSTS], rows)
    lines += ["", *(f"- *{name}* (n = {counts[name]}): {help}." for name, help in names.items())]
    lines += [f"- *{name}*: {help}." for name, help in COSTS.items()]
    lines += ["", "## What the intervals carry", "", *_nested(conclusions(summary))]
    lines += ["", "## Every test", ""]
    lines += [f"- {t.arm}: {sentence(t)}; {t.questions} questions" for t in summary.comparisons]
    judges = describe_judges(records)
    if judges:
        lines += ["", "## Judges of free answers", "", *(f"- {judge}" for judge in judges)]
    for note in notes_of(records):
        lines += ["", f"## What {note.task} says besides", ""]
        lines += [f"- {name}: {value}" for name, value in note.shared]
        if note.rows:
            lines += ["", *grid(note.headings, note.rows)]
    left = [f"- {arm} ({who}): {why}" for arm, who, why in unfinished(records)]
    left += [f"- {arms}: {why}" for arms, why in unasked(records)]
    if left:
        lines += ["", "## Not measured", "", *left]
    return "\n".join(lines) + "\n"


def frontier_table(points: Sequence[FrontierPoint], *, help: bool = True) -> list[str]:
    """Return the lines of the table of arms at levels: over all contrasts, then one by one.

    Args:
        points: What the table holds.
        help: Say below it what the columns mean.
    """
    lines = []
    for contrast in dict.fromkeys(point.contrast for point in points):
        own = [point for point in points if point.contrast == contrast]
        rows = [[p.arm, f"{p.level:g}" if p.level else "-", *map(show, p.cells)] for p in own]
        lines += [f"{contrast}:", ""] if contrast else []
        lines += [*grid(["arm", *HELP], rows), ""]
    return lines + [f"- *{name}*: {text}." for name, text in HELP.items() if help]


def show(interval: Interval | None) -> str:
    """Return a figure with its interval, ``-`` where there is none."""
    if interval is None:
        return "-"
    if interval.count == 1:  # a single question tells nothing of the spread
        return f"{interval.mean:.3f}"
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def cost(name: str, value: float | None) -> str:
    """Return a cost for people; ``-`` where it was not measured."""
    if value is None:
        return "-"
    if name == "pruned_share":
        return f"{value:.2%}"
    if name in ("bytes", "added_tokens", "tokens_per_second"):
        return f"{value:,.0f}"
    return "0" if not value else "< 0.01" if value < 0.01 else f"{value:.2f}"


def extent_of(summary: Summary) -> str:
    """Return how much was compared, in a sentence."""
    counts = {
        "arm": len(summary.rows),
        "contrast": max((row.contrasts for row in summary.rows), default=0),
        "seed": max((row.seeds for row in summary.rows), default=0),
    }
    return ", ".join(f"{count} {word}{'s' * (count != 1)}" for word, count in counts.items()) + "."


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; a bar inside a cell does not end it."""
    lines = [_line(head), "| --- |" + " ---: |" * (len(head) - 1)]
    return lines + [_line(row) for row in rows]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _as_sentence(note: str) -> str:
    return note[:1].upper() + note[1:].rstrip(".") + "."


def _nested(pages: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    lines = []
    for arm, sentences in pages:
        lines += [f"- **{arm}**", *(f"  - {sentence}" for sentence in sentences)]
    return lines


def spread(interval: Interval | None, digits: int = 3) -> str:
    """Return a mean with half of its interval; ``-`` where there is none."""
    if interval is None:
        return "-"
    reach = interval.half_width
    return f"{interval.mean:.{digits}f}" + (f" ± {reach:.{digits}f}" if interval.count > 1 else "")
