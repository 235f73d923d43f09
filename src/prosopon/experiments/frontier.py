"""Persona against loss: what every arm reaches at each level of loss, and its figure."""

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from prosopon.drawing import COLOURS, MARKERS, figure, svg
from prosopon.experiments.columns import COLUMNS, Column, clusters, estimate, perplexity_ratio
from prosopon.experiments.plan import level_words
from prosopon.experiments.records import Record
from prosopon.experiments.unlikely import unlikely_shares
from prosopon.intervals import Interval, paired_difference

MARGIN = Column("margin", "choice", "margin", "nats a token between both answers")
MEASURES = (
    *(
        next(column for column in COLUMNS if column.name == name)
        for name in (
            "text: target",
            "either judge",
            "neither",
            "repetition",
            "recital",
            "unseen recital",
            "text ppl",
        )
    ),
    Column("facts", "facts", "right", "neutral questions with checkable answers answered right"),
)
HELP = {
    "level": "the rise of general loss, nats a token, that the arm was allowed on calibration "
    "text; - for an arm without a dial",
    "loss": "the rise that other general text then shows",
    "margin gained": "nats a token between the matching answer and the other, less the base's",
    "target": "free answers that are the persona's, by the first judge",
    "either judge": "the same if one judge says so and no other says the opposite; where blind "
    "readers were asked, it is nearer to them",
    "neither": "free answers that are nobody's",
    "repetition": "repeated 3-grams in free answers",
    "recital": "free answers with four words in a row of a calibration answer",
    "unseen recital": "the same of as many answers of the persona that no arm learned from",
    "text ppl": "perplexity of the free answers under the base",
    "unlikely": "free answers that cost the base more nats a token than 95% of its own do",
    "target, likely": "free answers that are the persona's and not unlikely",
    "facts": "neutral questions with checkable answers that are answered right",
}
"""Columns of the table, with one line on each."""

LONGEST = 36  # characters of a line of a name
ROOM = 1.6  # the figure's width, in units of the largest level
GAP = 0.047  # height of a name, as a share of the figure's


@dataclass(frozen=True)
class FrontierPoint:
    """An arm at a level of loss, over some contrasts and all seeds.

    Attributes:
        arm: The arm, without its level.
        kind: Its kind.
        level: Rise of general loss that it was allowed, nats a token; 0 for an arm without a
            dial.
        contrast: The contrast; empty for the mean over all.
        loss: Rise of held-out general loss that was measured; None where it was not.
        allowed: The rise on calibration text that its dose was chosen by, mean over cells.
        margin: Margin of the choices less the base's on the same questions, nats a token.
        target: Share of free answers on target by the first judge.
        either: The same by one judge at least, and against none.
        neither: Share of free answers that are nobody's.
        repetition: Repeated 3-grams in free answers.
        recital: Share of free answers that recite a calibration answer.
        unseen: Share of those that recite as many answers that no arm learned from.
        perplexity: Of the free answers under the base.
        unlikely: Share of free answers that cost the base more than 95% of its own.
        likely_target: Share of free answers that are on target and not unlikely.
        facts: Share of checkable neutral questions that are answered right.
    """

    arm: str
    kind: str
    level: float
    contrast: str
    loss: Interval | None
    allowed: float | None
    margin: Interval | None
    target: Interval | None
    either: Interval | None
    neither: Interval | None
    repetition: Interval | None
    recital: Interval | None
    unseen: Interval | None
    perplexity: Interval | None
    facts: Interval | None
    unlikely: Interval | None
    likely_target: Interval | None

    @property
    def cells(self) -> list[Interval | None]:
        """The figures, in the order of :data:`HELP` after the level."""
        return [
            self.loss, self.margin, self.target, self.either, self.neither, self.repetition,
            self.recital, self.unseen, self.perplexity, self.unlikely, self.likely_target,
            self.facts,
        ]  # fmt: skip


def frontier_points(records: Sequence[Record]) -> tuple[FrontierPoint, ...]:
    """Return every arm at every level: over all contrasts, then contrast by contrast.

    Nothing where no arm was run at a level.
    """
    done = [record for record in records if record.status == "done"]
    if not any(record.cell.at_loss for record in done):
        return ()
    groups: dict[tuple[str, float], list[Record]] = {}
    for record in done:
        name = record.name.removesuffix(level_words(record.cell.at_loss))
        groups.setdefault((name, record.cell.at_loss), []).append(record)
    base = [record for record in done if record.cell.arm == "base"]
    contrasts = list(dict.fromkeys(record.cell.contrast for record in done))
    return tuple(
        _point(arm, level, some, base, contrast)
        for contrast in ["", *(contrasts if len(contrasts) > 1 else ())]
        for (arm, level), rows in groups.items()
        if (some := [r for r in rows if contrast in ("", r.cell.contrast)])
    )


def _point(
    arm: str, level: float, records: Sequence[Record], base: Sequence[Record], contrast: str
) -> FrontierPoint:
    ratio = perplexity_ratio(records, base)
    costs = [record.cost.get("details", {}).get("general_loss") for record in records]
    measured = [float(cost) for cost in costs if cost is not None]
    return FrontierPoint(
        arm, records[0].kind, level, contrast,
        None if ratio is None else _logarithm(ratio),
        fmean(measured) if measured else None,
        gain_over(records, base),
        *[*(estimate(records, column) for column in MEASURES), *unlikely_shares(records, base)],
    )  # fmt: skip


def gain_over(
    records: Sequence[Record], others: Sequence[Record], column: Column = MARGIN
) -> Interval | None:
    """Return a measure less other records', with an interval over the questions of both.

    None where they share no question.
    """
    before, after = clusters(others, column), clusters(records, column)
    shared = [key for key in after if key in before]
    sums = ([side[key] for key in shared] for side in (after, before))
    ours, theirs = ([total / count for total, count in side] for side in sums)
    return paired_difference(ours, theirs).difference if shared else None


def _logarithm(ratio: Interval) -> Interval:
    ends = (math.log(ratio.mean), math.log(ratio.low), math.log(ratio.high))
    return Interval(*ends, ratio.count)


def draw_frontier(points: Sequence[FrontierPoint]) -> str | None:
    """Return the margin gained and the free text on target over the measured loss.

    Bars are 95% intervals. An arm that loses more than the figure shows stands at its right edge,
    without a line. None where nothing can be drawn.
    """
    whole = [p for p in points if not p.contrast and p.loss is not None]
    if not whole:
        return None
    edge = ROOM * max(p.level for p in whole)
    left = min(0.0, *(p.loss.mean for p in whole if p.loss is not None)) - 0.04 * edge
    arms = list(dict.fromkeys(p.arm for p in whole))
    panels = {"margin": "choice margin gained, nats a token", "target": "free text on target"}
    drawn, axes = figure(12.4, 5.6, ncols=2)
    for place, (name, title) in zip(axes, panels.items(), strict=True):
        ends = {}
        for number, arm in enumerate(arms):
            own = [p for p in whole if p.arm == arm and getattr(p, name) is not None]
            if own:
                look = {
                    "color": COLOURS[number % len(COLOURS)],
                    "marker": MARKERS[number // len(COLOURS) % len(MARKERS)],
                }
                ends[arm] = (*_draw(place, sorted(own, key=lambda p: p.level), name, edge, look),
                             look["color"])  # fmt: skip
        place.set_xlim(left, edge * 1.02)
        place.set_xlabel("measured rise of general loss, nats a token")
        place.set_ylabel(title)
        place.axhline(0 if name == "margin" else _base_height(whole, name), color="#999999", lw=0.6)
        for level in sorted({p.level for p in whole if p.level}):
            place.axvline(level, color="#999999", lw=0.5, ls=":")
        _write_names(place, ends, edge)
    return svg(drawn, "persona at equal loss", background="none")


def _draw(
    place: Any, points: Sequence[FrontierPoint], name: str, edge: float, look: Mapping[str, str]
) -> tuple[float, float]:
    """Draw an arm and return where its last point is."""
    spots = []
    for point in points:
        gain: Interval = getattr(point, name)
        assert point.loss is not None
        x, beyond = min(point.loss.mean, edge), point.loss.mean > edge
        below, above = max(gain.mean - gain.low, 0), max(gain.high - gain.mean, 0)
        place.errorbar(
            x, gain.mean, yerr=[[below], [above]] if gain.count > 1 else None, **look,
            markersize=5, capsize=1.5, elinewidth=0.6, fillstyle="none" if beyond else "full",
        )  # fmt: skip
        spots.append((x, gain.mean, beyond))
    line = [(x, y) for x, y, beyond in spots if not beyond]
    if len(line) > 1:
        place.plot(*zip(*line, strict=True), color=look["color"], lw=1.3)
    x, y, _ = spots[-1]
    return x, y


def _base_height(points: Sequence[FrontierPoint], name: str) -> float:
    base = next((p for p in points if p.kind == "base"), None)
    gain = getattr(base, name, None)
    return float(gain.mean) if gain is not None else 0.0


def _write_names(place: Any, ends: Mapping[str, tuple[float, float, str]], edge: float) -> None:
    """Write the arms' names right of the panel, in order of height, with a line to each.

    Long names, those with options, take several lines.
    """
    low, high = place.get_ylim()
    ranked = sorted(ends.items(), key=lambda item: item[1][1])
    names = [textwrap.wrap(arm, LONGEST) for arm, _ in ranked]
    halves = [GAP * (high - low) * len(lines) / 2 for lines in names]
    steps = [own + other for own, other in itertools.pairwise(halves)]
    heights: list[float] = []
    for index, (_, (_, y, _)) in enumerate(ranked):
        heights.append(max(y, heights[-1] + steps[index - 1]) if heights else y)
    if heights and heights[-1] > high:
        heights[-1] = high
        for index in range(len(steps) - 1, -1, -1):
            heights[index] = min(heights[index], heights[index + 1] - steps[index])
    for lines, (_, (x, y, colour)), height in zip(names, ranked, heights, strict=True):
        place.annotate(
            "\n".join(lines), (x, y), xytext=(1.05 * edge, height), fontsize=8, va="center",
            color=colour, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": colour, "alpha": 0.6},
        )  # fmt: skip
    if heights:
        place.set_ylim(min(low, heights[0] - halves[0]), high + halves[-1])
