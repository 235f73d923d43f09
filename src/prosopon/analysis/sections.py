"""What an analysis says: sections of a figure, a paragraph and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prosopon.analysis import figures
from prosopon.analysis.crosstalk import SIGNIFICANT, CrossTalk
from prosopon.analysis.dendrogram import cluster_pairs
from prosopon.analysis.faithfulness import Faithfulness
from prosopon.analysis.location import Location
from prosopon.analysis.overlap import PairOverlap
from prosopon.drawing import NONE

MOST_PAIRS = 12


@dataclass(frozen=True)
class Section:
    """A part of an analysis, for a page or a report.

    Attributes:
        id: For links and file names, unique within an analysis.
        title: Heading.
        svg: The figure; empty where there is none.
        text: A paragraph, plain text.
        headings: Of the table; empty where there is none.
        rows: Of the table.
    """

    id: str
    title: str
    svg: str = ""
    text: str = ""
    headings: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default=())

    def markdown(self) -> str:
        """Return title, paragraph, figure (as a link to ``ID.svg``) and table as Markdown."""
        blocks = [f"## {self.title}", self.text]
        if self.svg:
            blocks.append(f"![{self.title}]({self.id}.svg)")
        if self.rows:
            lines = [self.headings, ["---"] * len(self.headings), *self.rows]
            blocks.append("\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines))
        return "\n\n".join(block for block in blocks if block) + "\n"


def overlap_sections(
    names: Sequence[str], pairs: Sequence[PairOverlap], opposites: Sequence[PairOverlap]
) -> list[Section]:
    """Return what masks share: table and heat map, by layer, dendrogram.

    Args:
        names: The masks.
        pairs: Their overlaps.
        opposites: Those between a persona and its opposite; they lead the table.
    """
    rest = [pair for pair in pairs if pair not in opposites]
    shown = [*opposites, *rest][: max(MOST_PAIRS, len(opposites))]
    kinds = list(shown[0].differing())
    left_out = len(pairs) - len(shown)
    text = (
        "Share of mask entries that differ, over all sites and by kind, beside what two masks of "
        "the same sizes would differ in by chance; and the Jaccard index of what they prune."
    )
    if opposites and rest:
        text += " Opposites come first."
    if left_out:
        text += f" {left_out} more pairs are in analysis.json."
    rows = [
        [
            f"{pair.first} / {pair.second}",
            *(f"{100 * share:.2f}" for share in pair.differing().values()),
            f"{100 * pair.whole.expected_differing:.2f}",
            _number(pair.whole.jaccard_pruned),
            _number(pair.whole.expected_jaccard_pruned),
        ]
        for pair in shown
    ]
    headings = ["masks", *(f"{kind}, %" for kind in kinds), "by chance, %", "Jaccard", "by chance"]
    found = [
        Section(
            "overlap",
            "What the masks share",
            figures.draw_overlap(names, pairs),
            text,
            headings,
            rows,
        )
    ]
    layers = figures.draw_layers(pairs, opposites)
    if layers is not None:
        found.append(Section("layers", "Layer by layer", layers, _drawn(pairs)))
    if len(names) > 2:
        drawn = figures.draw_dendrogram(cluster_pairs(names, pairs))
        told = "Personas whose masks prune the same weights are joined early (on the left)."
        found.append(Section("dendrogram", "Which masks are alike", drawn, told))
    return found


def location_sections(found: Mapping[str, Location]) -> list[Section]:
    """Return where the pruned weights sit, by layer and kind and by channel."""
    sections = [
        Section(
            "location",
            "Where the pruned weights sit",
            figures.draw_location(found),
            "Pruned weights over those that chance would put there, by layer and kind: 1 is "
            "chance.",
        )
    ]
    drawn = figures.draw_concentration(found)
    if drawn is not None:
        sections.append(
            Section(
                "concentration",
                "In how many channels",
                drawn,
                "Share of the pruned weights that lie in the tenth of each site's channels that "
                "lose most; the mark is the same for random masks.",
            )
        )
    return sections


def cross_talk_section(found: CrossTalk) -> Section:
    """Return what each mask does to every axis."""
    questions = min(len(axis.items) for axis in found.axes)
    text = (
        f"Change of the choice rate against the base, {questions} questions an axis; a frame is a "
        f"mask's own axis, a star is significant at {SIGNIFICANT:g} after Holm's correction over "
        "the whole matrix."
    )
    leaks = [
        f"{name} on {axis} ({change.rate.difference.mean:+.2f}, "
        f"{change.rate.difference.low:+.2f} to {change.rate.difference.high:+.2f})"
        for name, axis, change, _ in found.leaks()
    ]
    text += " Significant on another axis: " + (", ".join(leaks) if leaks else "none") + "."
    count, others = len(found.leaks("margin")), found.others()
    if others:
        text += (
            f" A choice changes only where one answer overtakes the other; of the margins (nats "
            f"per token) on other axes, {count} of {others} change significantly, and the last "
            "column has each mask's largest change of one over the change of its own."
        )
    rows = [
        [
            name,
            _signed(found.strength(row)),
            _number(found.leak(row)),
            _relative(found.relative_leak(row)),
        ]
        for row, name in enumerate(found.names)
    ]
    headings = [
        "mask", "own axis, toward its pole", "mean absolute change of the others",
        "largest other margin / own",
    ]  # fmt: skip
    drawn = figures.draw_cross_talk(found)
    return Section("cross-talk", "What each mask does to every axis", drawn, text, headings, rows)


def faithfulness_sections(found: Sequence[Faithfulness]) -> list[Section]:
    """Return a table over masks, and a figure for each."""
    arms = ("only attention", "only mlp", "elsewhere", "elsewhere, same size")
    rows = []
    for one in found:
        by = {arm.name: arm for arm in one.arms}
        whole = by["whole"]
        rows.append(
            [
                one.name,
                f"{one.base_rate:.2f} → {one.base_rate + whole.effect.rate.difference.mean:.2f}",
                _signed(whole.effect.margin.difference.mean),
                *(_percent(by[arm].faithful if arm in by else None) for arm in arms),
                _percent(one.top_share() if "ranking" in one.curves else None),
                _number(one.area("ranking")),
                _number(one.area("random")),
                f"{whole.perplexity_ratio:.3f}",
                _number(by["elsewhere"].perplexity_ratio if "elsewhere" in by else None),
            ]
        )
    headings = [
        "mask", "choice rate", "margin", *(f"{arm}, %" for arm in arms), "first tenth, %",
        "area", "area, random order", "perplexity / base", "elsewhere, perplexity / base",
    ]  # fmt: skip
    text = (
        "Is it these weights? The share of the whole mask's effect on the margin (nats per token, "
        "toward the persona) that its parts have, that as many other weights of the same sites "
        "have, and that the first tenth of the mask's ranking has; the area under the curve of "
        "the effect over the share of the mask applied (1/2: in proportion). No shares are given "
        "where the interval of the whole mask's effect holds 0. A control that ruins the "
        "perplexity says little of the persona."
    )
    missing = [f"{one.name}, {arm}: {why}" for one in found for arm, why in one.refused.items()]
    if missing:
        text += " Not run: " + "; ".join(missing) + "."
    table = Section("faithfulness", "Is it these weights?", "", text, headings, rows)
    return [
        table,
        *(
            Section(
                f"faithfulness-{number}",
                f"Faithfulness of the mask {one.name}",
                figures.draw_faithfulness(one),
                f"{len(one.axis.items)} questions; bars have intervals over questions. Controls "
                "are orange.",
            )
            for number, one in enumerate(found, 1)
        ),
    ]


def _drawn(pairs: Sequence[PairOverlap]) -> str:
    if len(pairs) <= figures.MOST_LINES:
        return ""
    return (
        f"{figures.MOST_LINES} of {len(pairs)} pairs are drawn: opposites, then the most alike; "
        "analysis.json has all."
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _relative(leak: tuple[str, float] | None) -> str:
    return _number(None) if leak is None else f"{leak[0]} {leak[1]:+.2f}"


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{value:+.2f}"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.0f}"
