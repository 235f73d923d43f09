"""What an analysis says: sections of a figure, a paragraph and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from prosopon.analysis import figures
from prosopon.analysis.crosstalk import SIGNIFICANT, CrossTalk
from prosopon.analysis.dendrogram import cluster_pairs
from prosopon.analysis.faithfulness import Faithfulness
from prosopon.analysis.findings import Findings
from prosopon.analysis.location import Location
from prosopon.analysis.overlap import PairOverlap
from prosopon.drawing import NONE, printable

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
        blocks = [f"## {plain(self.title)}", plain(self.text)]
        if self.svg:
            blocks.append(f"![{plain(self.title)}]({self.id}.svg)")
        if self.rows:
            lines = [self.headings, ["---"] * len(self.headings), *self.rows]
            blocks.append("\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines))
        return "\n\n".join(block for block in blocks if block) + "\n"


def tell(findings: Findings) -> list[Section]:
    """Return what was measured for people: text, tables and figures."""
    sections: list[Section] = []
    if findings.pairs:
        sections += overlap_sections(findings.names, findings.pairs, findings.opposed)
    if findings.places:
        sections += location_sections(findings.places)
    if findings.talk is not None:
        sections.append(cross_talk_section(findings.talk))
    if findings.tests:
        sections += faithfulness_sections(findings.tests)
    return sections


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
    sections = [
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
        sections.append(Section("layers", "Layer by layer", layers, _drawn(pairs)))
    if len(names) > 2:
        drawn = figures.draw_dendrogram(cluster_pairs(names, pairs))
        text = "Personas whose masks prune the same weights are joined early (on the left)."
        sections.append(Section("dendrogram", "Which masks are alike", drawn, text))
    return sections


def location_sections(places: Mapping[str, Location]) -> list[Section]:
    """Return where the pruned weights sit, by layer and kind and by channel."""
    sections = [
        Section(
            "location",
            "Where the pruned weights sit",
            figures.draw_location(places),
            "Pruned weights over those that chance would put there, by layer and kind: 1 is "
            "chance.",
        )
    ]
    drawn = figures.draw_concentration(places)
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


def cross_talk_section(talk: CrossTalk) -> Section:
    """Return what each mask does to every axis."""
    questions = min(len(axis.items) for axis in talk.axes)
    text = (
        f"Change of the choice rate against the base, {questions} questions an axis; a frame is a "
        f"mask's own axis, a star is significant at {SIGNIFICANT:g} after Holm's correction over "
        "the whole matrix."
    )
    leaks = [
        f"{name} on {axis} ({change.rate.difference.mean:+.2f}, "
        f"{change.rate.difference.low:+.2f} to {change.rate.difference.high:+.2f})"
        for name, axis, change, _ in talk.leaks()
    ]
    text += " Significant on another axis: " + (", ".join(leaks) if leaks else "none") + "."
    count, others = len(talk.leaks("margin")), talk.others()
    if others:
        text += (
            f" A choice changes only where one answer overtakes the other; of the margins (nats "
            f"per token) on other axes, {count} of {others} change significantly, and the last "
            "column has each mask's largest change of one over the change of its own."
        )
    rows = [
        [
            name,
            _signed(talk.strength(row)),
            _number(talk.leak(row)),
            _relative(talk.relative_leak(row)),
        ]
        for row, name in enumerate(talk.names)
    ]
    headings = [
        "mask", "own axis, toward its pole", "mean absolute change of the others",
        "largest other margin / own",
    ]  # fmt: skip
    drawn = figures.draw_cross_talk(talk)
    return Section("cross-talk", "What each mask does to every axis", drawn, text, headings, rows)


def faithfulness_sections(tests: Sequence[Faithfulness]) -> list[Section]:
    """Return a table over masks, and a figure for each."""
    arms = ("only attention", "only mlp", "elsewhere", "elsewhere, same size")
    rows = []
    for one in tests:
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
    missing = [f"{one.name}, {arm}: {why}" for one in tests for arm, why in one.refused.items()]
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
            for number, one in enumerate(tests, 1)
        ),
    ]


def _drawn(pairs: Sequence[PairOverlap]) -> str:
    if len(pairs) <= figures.MOST_LINES:
        return ""
    return (
        f"{figures.MOST_LINES} of {len(pairs)} pairs are drawn: opposites, then the most alike; "
        "analysis.json has all."
    )


def plain(text: str) -> str:
    """Return a text for a Markdown page: no HTML of its own, no control codes."""
    return escape(printable(text), quote=False)


def _cell(text: str) -> str:
    return plain(text).replace("|", "\\|").replace("\n", " ")


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _relative(leak: tuple[str, float] | None) -> str:
    return _number(None) if leak is None else f"{leak[0]} {leak[1]:+.2f}"


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{value:+.2f}"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.0f}"
