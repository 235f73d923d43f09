"""Where arms with a dial ran at several levels: which records say so, and what they say.

An arm's level is what general text was allowed to lose on calibration text; other text loses a
little more or less. So arms are also compared where the measured losses are equal, on the lines
of the figure.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence

from prosopon.experiments.frontier import FrontierPoint, frontier_points
from prosopon.experiments.markdown import frontier_table, grid
from prosopon.experiments.plan import level_words
from prosopon.experiments.records import Record
from prosopon.intervals import Interval

Where = tuple[str, int]
"""A contrast and a seed."""


def by_level(records: Sequence[Record]) -> list[Record]:
    """Return the records of the contrasts and seeds where every dial ran at every level.

    A dial that ran at one level alone is left out. Nothing where none ran at several.
    """
    done = [record for record in records if record.status == "done"]
    levels: dict[tuple[str, Where], set[float]] = defaultdict(set)
    for record in done:
        if record.cell.at_loss:
            levels[bare(record), where(record)].add(record.cell.at_loss)
    every = {level for some in levels.values() for level in some}
    if len(every) < 2:
        return []
    dials = {name for (name, _), some in levels.items() if some == every}
    places = {
        place for _, place in levels if all(levels.get((name, place)) == every for name in dials)
    }
    return [
        record for record in done
        if where(record) in places and (not record.cell.at_loss or bare(record) in dials)
    ]  # fmt: skip


def places_of(records: Sequence[Record]) -> str:
    """Return the contrasts and seeds of records as words."""
    seeds = sorted({record.cell.seed for record in records})
    names = [*dict.fromkeys(record.cell.contrast for record in records)]
    word = "seed" if len(seeds) == 1 else "seeds"
    return f"{', '.join(names)}, {word} {', '.join(map(str, seeds))}"


def figure_line(records: Sequence[Record]) -> list[str]:
    """Return the line below a page's figure where it shows fewer records than its table."""
    some = by_level(records)
    if len(some) == len(records):
        some = []
    shown = f"The figure shows {places_of(some)} ([level by level](#level-by-level))."
    return [shown, ""] if some else []


def where(record: Record) -> Where:
    """Return the contrast and the seed of a record."""
    return record.cell.contrast, record.cell.seed


def bare(record: Record) -> str:
    """Return an arm's name without its level."""
    return record.name.removesuffix(level_words(record.cell.at_loss))


def height_at(points: Sequence[FrontierPoint], loss: float, name: str) -> float | None:
    """Return a measure where an arm's line crosses a measured loss.

    Args:
        points: Of one arm on one contrast, the base's first.
        loss: Nats a token.
        name: ``margin`` or ``target``.

    Returns:
        Linear between two neighbouring points; None where no two of them enclose the loss.
    """
    spots = list[tuple[float, float]]()
    for point in points:
        gain: Interval | None = getattr(point, name)
        if point.loss is not None and gain is not None:
            spots.append((point.loss.mean, gain.mean))
    for (x, y), (right, top) in itertools.pairwise(sorted(spots)):
        if x <= loss <= right:
            return y if right == x else y + (top - y) * (loss - x) / (right - x)
    return None


def level_section(records: Sequence[Record], loss: float) -> list[str]:
    """Return the section on levels: the table, and every arm at an equal measured loss.

    Args:
        records: Of the page.
        loss: Nats a token.
    """
    some = by_level(records)
    if not some:
        return []
    contrasts = list(dict.fromkeys(record.cell.contrast for record in some))
    points = frontier_points(some)
    lines = [
        "## Level by level", "",
        f"What the figure shows: {places_of(some)}. Whatever arm ran at several levels ran at all "
        "of them there.", "",
        *frontier_table([point for point in points if not point.contrast], help=False), "",
        f"The same where other general text loses exactly {loss:g}, on the straight line between "
        "two levels, the base being the first point; - where no two of them enclose it.", "",
    ]  # fmt: skip
    for name, title in (("margin", "margin gained"), ("target", "free answers on target")):
        rows = equal_loss(points, contrasts, loss, name)
        lines += [f"{title[0].upper()}{title[1:]}:", "", *grid(["arm", "all", *contrasts], rows)]
        lines.append("")
    return lines


def equal_loss(
    points: Sequence[FrontierPoint], contrasts: Sequence[str], loss: float, name: str
) -> list[list[str]]:
    """Return a row for each arm with a dial: its height over all contrasts, and on every one."""
    rows = []
    for arm in dict.fromkeys(point.arm for point in points if point.level):
        heights = []
        for contrast in ("", *contrasts):
            # Points of one contrast alone stand in the mean over all.
            own = [p for p in points if p.contrast == (contrast if len(contrasts) > 1 else "")]
            base = [p for p in own if p.kind == "base"]
            heights.append(height_at([*base, *(p for p in own if p.arm == arm)], loss, name))
        rows.append([arm, *("-" if h is None else f"{h:.3f}" for h in heights)])
    return rows
