"""What an analysis says: sections of a figure, a paragraph and a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from prosopon.analysis import figures
from prosopon.analysis.crosstalk import SIGNIFICANT, CrossTalk
from prosopon.analysis.faithfulness import Faithfulness
from prosopon.analysis.findings import Findings
from prosopon.analysis.location import Location
from prosopon.analysis.overlap import cluster
from prosopon.drawing import NONE, printable

MOST_PAIRS = 12


@dataclass(frozen=True)
class Section:
    """A part of an analysis, for a page or a report."""

    id: str  # for links and file names, unique within an analysis
    title: str  # heading
    svg: str = ""  # the figure; empty where there is none
    text: str = ""  # a paragraph, plain text
    headings: Sequence[str] = ()  # of the table; empty where there is none
    rows: Sequence[Sequence[str]] = field(default=())  # of the table

    def markdown(self) -> str:
        """Return title, paragraph, figure (as a link to ``ID.svg``) and table as Markdown."""
        blocks = [f"## {plain(self.title)}", plain(self.text)]
        if self.svg:
            blocks.append(f"![{plain(self.title)}]({self.id}.svg)")
        if self.rows:
            lines = [self.headings, ["---"] * len(self.headings), *self.rows]
            blocks.append("\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines))
        return "\n\n".join(block for block in blocks if block) + "\n"


def describe(findings: Findings) -> list[Section]:
    """Return what was measured for people: text, tables and figures."""
    sections: list[Section] = []
    if findings.pairs:
        sections += _overlap_sections(findings)
    if findings.places:
        sections += _location_sections(findings.places)
    if findings.talk is not None:
        sections.append(_cross_talk_section(findings.talk))
    if findings.tests:
        sections += _faithfulness_sections(findings.tests)
    return sections


def _overlap_sections(findings: Findings) -> list[Section]:
    """Return what masks share: table (opposites lead) and heat map, by layer, dendrogram."""
    names, pairs, opposites = list(findings.masks), findings.pairs, findings.opposed
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
    drawn = figures.draw_overlap(names, pairs)
    sections = [Section("overlap", "What the masks share", drawn, text, headings, rows)]
    layers = figures.draw_layers(pairs, opposites)
    if layers is not None:
        most, text = figures.MOST_LINES, ""
        if len(pairs) > most:
            text = (
                f"{most} of {len(pairs)} pairs are drawn: opposites, then the most alike; "
                "analysis.json has all."
            )
        sections.append(Section("layers", "Layer by layer", layers, text))
    if len(names) > 2:
        drawn = figures.draw_dendrogram(cluster(names, pairs))
        text = "Personas whose masks prune the same weights are joined early (on the left)."
        sections.append(Section("dendrogram", "Which masks are alike", drawn, text))
    return sections


def _location_sections(places: Mapping[str, Location]) -> list[Section]:
    """Return where the pruned weights sit, by layer and kind and by channel."""
    text = "Pruned weights over those that chance would put there, by layer and kind: 1 is chance."
    drawn = figures.draw_location(places)
    sections = [Section("location", "Where the pruned weights sit", drawn, text)]
    channels = figures.draw_concentration(places)
    if channels is not None:
        text = (
            "Share of the pruned weights that lie in the tenth of each site's channels that lose "
            "most; the mark is the same for random masks."
        )
        sections.append(Section("concentration", "In how many channels", channels, text))
    return sections


def _cross_talk_section(talk: CrossTalk) -> Section:
    """Return what each mask does to every axis."""
    questions = min(len(axis.items) for axis in talk.axes)
    text = (
        f"Change of the choice rate against the base, {questions} questions an axis; a frame is a "
        f"mask's own axis, a star is significant at {SIGNIFICANT:g} after Holm's correction over "
        "the whole matrix."
    )
    leaks = [
        f"{name} on {axis} ({change.difference.mean:+.2f}, "
        f"{change.difference.low:+.2f} to {change.difference.high:+.2f})"
        for name, axis, change in talk.leaks()
    ]
    text += " Significant on another axis: " + (", ".join(leaks) if leaks else "none") + "."
    if others := len(talk.others()):
        text += (
            " A choice changes only where one answer overtakes the other; of the margins (nats "
            f"per token) on other axes, {len(talk.leaks('margin'))} of {others} change "
            "significantly, and the last column has each mask's largest change of one over the "
            "change of its own."
        )
    rows = []
    for row, name in enumerate(talk.names):
        leak = talk.relative_leak(row)
        relative = NONE if leak is None else f"{leak[0]} {leak[1]:+.2f}"
        rows.append([name, _number(talk.strength(row), "+.2f"), _number(talk.leak(row)), relative])
    headings = [
        "mask", "own axis, toward its pole", "mean absolute change of the others",
        "largest other margin / own",
    ]  # fmt: skip
    drawn = figures.draw_cross_talk(talk)
    return Section("cross-talk", "What each mask does to every axis", drawn, text, headings, rows)


def _faithfulness_sections(tests: Sequence[Faithfulness]) -> list[Section]:
    """Return a table over masks, and a figure for each."""
    arms = ("only attention", "only mlp", "elsewhere", "elsewhere, same size")
    rows = []
    for one in tests:
        by = {arm.name: arm for arm in one.arms}
        whole = one.whole
        rows.append(
            [
                one.name,
                f"{one.base_rate:.2f} → {one.base_rate + whole.effect.rate.difference.mean:.2f}",
                f"{whole.effect.margin.difference.mean:+.2f}",
                *(_percent(by[arm].faithful if arm in by else None) for arm in arms),
                _percent(one.top_share()),
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
    sections = [Section("faithfulness", "Is it these weights?", "", text, headings, rows)]
    for number, one in enumerate(tests, 1):
        count = len(one.axis.items)
        text = (
            f"{count} questions; bars have intervals over questions, cut off where a control's is "
            "too wide. Controls are orange."
        )
        title, drawn = f"Faithfulness of the mask {one.name}", figures.draw_faithfulness(one)
        sections.append(Section(f"faithfulness-{number}", title, drawn, text))
    return sections


def plain(text: str) -> str:
    """Return a text for a Markdown page: no HTML of its own, no control codes."""
    return escape(printable(text), quote=False)


def _cell(text: str) -> str:
    return plain(text).replace("|", "\\|").replace("\n", " ")


def _number(value: float | None, form: str = ".3f") -> str:
    return NONE if value is None else f"{value:{form}}"


def _percent(share: float | None) -> str:
    return _number(None if share is None else 100 * share, ".0f")
