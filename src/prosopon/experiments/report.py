"""``report.html``: one self-contained page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from prosopon.experiments.curves import curve
from prosopon.experiments.figures import by_contrast, costs, frontier
from prosopon.experiments.frontier import draw_frontier
from prosopon.experiments.judge_lines import describe_judges
from prosopon.experiments.markdown import COSTS, cost
from prosopon.experiments.notes import notes_of
from prosopon.experiments.records import Record, by_arm, unasked, unfinished
from prosopon.experiments.summary import Summary
from prosopon.experiments.words import conclusions, remarks

SHOWN = 2  # answers of every contrast


@dataclass(frozen=True)
class ReportSection:
    """A figure of the report.

    Attributes:
        id: For links, unique.
        title: Heading.
        svg: The figure.
        text: One paragraph, plain text.
    """

    id: str
    title: str
    svg: str
    text: str = ""


def sections(summary: Summary, records: Sequence[Record]) -> list[ReportSection]:
    """Return the report's own figures."""
    at_loss = summary.frontier
    candidates = (
        ("frontier", "Persona at equal loss", draw_frontier(at_loss),
         "Each arm at its strongest within each level of loss (dotted), over what other general "
         "text then lost. Open marks lie further right than the figure goes."),
        ("frontier", "Gained and lost", None if at_loss else frontier(summary),
         "Up is more of the persona in free text, right is more damage to general text."),
        ("sparsity", "Over sparsity", curve(summary, "sparsity"), ""),
        ("examples", "Over calibration size", curve(summary, "examples"), ""),
        ("personas", "Free answers by persona", by_contrast(records),
         "Share of free answers that the first judge gives to the persona."),
        ("choices", "Choices by persona", by_contrast(records, "choice"),
         "Share of questions whose matching answer is likelier per token."),
        ("cost-bars", "Costs side by side", costs(summary), ""),
    )  # fmt: skip
    return [ReportSection(id_, title, svg, text) for id_, title, svg, text in candidates if svg]


def report(
    summary: Summary,
    records: Sequence[Record],
    figures: Sequence[ReportSection],
    *,
    title: str,
    lead: str,
    command: str,
    settings: Mapping[str, Any],
) -> str:
    """Return the page. All text of models and data is escaped.

    Args:
        summary: What was found.
        records: All records.
        figures: The figures, those of an analysis among them.
        title: Of the page.
        lead: What was compared, in a sentence or two.
        command: What makes the same folder again.
        settings: The plan and the model, as JSON values.
    """
    from jinja2 import Environment
    from markupsafe import Markup

    def read(name: str) -> str:
        return files("prosopon.experiments").joinpath(name).read_text("utf-8")

    missing, left_out = unfinished(records), unasked(records)
    notes, blocks = notes_of(records), answers(records)
    main = [*figures[:1]] if figures and figures[0].id == "frontier" else []
    others = figures[len(main) :]
    contents = [
        ("arms", "Arms"),
        *((figure.id, figure.title) for figure in main),
        ("conclusions", "Conclusions"), ("costs", "Costs"),
        *((figure.id, figure.title) for figure in others),
        *([("answers", "Answers")] if blocks else []), ("tests", "Tests"),
        *([("notes", "Tasks")] if notes else []),
        *([("missing", "Not measured")] if missing or left_out else []), ("settings", "Repeat it"),
    ]  # fmt: skip
    rows = summary.rows
    costs_shown = {
        name: help for name, help in COSTS.items() if any(row.costs.get(name) for row in rows)
    }
    page = Environment(autoescape=True, trim_blocks=True).from_string(read("report.html.jinja"))
    return page.render(
        title=title, lead=lead, contents=contents, conclusions=conclusions(summary),
        remarks=remarks(summary), headings=summary.headings(), counts=summary.counts(),
        rows=rows, costs=costs_shown, cost=cost,
        main=[{**vars(figure), "svg": Markup(figure.svg)} for figure in main],
        figures=[{**vars(figure), "svg": Markup(figure.svg)} for figure in others],
        answers=blocks, tests=summary.comparisons, missing=missing, command=command,
        unasked=left_out, notes=notes, judges=describe_judges(records),
        settings=json.dumps(settings, indent=2, ensure_ascii=False),
        css=Markup(read("report.css")), script=Markup(read("report.js")),
    )  # fmt: skip


def answers(records: Sequence[Record], shown: int = SHOWN) -> list[dict[str, Any]]:
    """Return some free answers of every contrast, arm by arm, of the first seed.

    The first questions; those that the base answers as the persona already come last, for they
    show no change.
    """
    arms = by_arm(records)
    blocks: dict[tuple[str, str], dict[str, Any]] = {}
    for arm, rows in arms.items():
        first = min(record.cell.seed for record in rows)
        for record in rows:
            result = record.results.get("free-text")
            if result is None or record.cell.seed != first:
                continue
            for outcome in result.outcomes:
                key = record.cell.contrast, outcome.question
                block = blocks.setdefault(
                    key, {"contrast": key[0], "prompt": outcome.prompt, "rows": {}, "late": False}
                )
                verdict = _verdict(outcome.values)
                block["rows"].setdefault(arm, (outcome.answer, verdict))
                block["late"] |= record.kind == "base" and verdict == "target"
    chosen: list[dict[str, Any]] = []
    for contrast in dict.fromkeys(contrast for contrast, _ in blocks):
        own = [block for key, block in blocks.items() if key[0] == contrast]
        chosen += sorted(own, key=lambda block: bool(block["late"]))[:shown]
    return chosen


def _verdict(values: Mapping[str, float]) -> str:
    return next((k for k in ("target", "opposite", "neither") if values.get(k) == 1), "")
