"""``report.html``: one self-contained page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from prosopon.experiments.figures import by_contrast, costs, frontier
from prosopon.experiments.markdown import COSTS, cost, headings
from prosopon.experiments.notes import notes_of
from prosopon.experiments.records import Record, by_arm, judges_told, unasked, unfinished
from prosopon.experiments.summary import Summary
from prosopon.experiments.words import conclusions

SHOWN = 2  # answers of every contrast


@dataclass(frozen=True)
class Section:
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


def sections(summary: Summary, records: Sequence[Record]) -> list[Section]:
    """Return the report's own figures."""
    drawn = (
        (
            "frontier",
            "Gained and lost",
            frontier(summary),
            "Up is more of the persona in free text, right is more damage to general text.",
        ),
        (
            "personas",
            "Free answers by persona",
            by_contrast(records),
            "Share of free answers that the first judge gives to the persona.",
        ),
        (
            "choices",
            "Choices by persona",
            by_contrast(records, "choice"),
            "Share of questions whose matching answer is likelier per token.",
        ),
        ("cost-bars", "Costs side by side", costs(summary), ""),
    )
    return [Section(id_, title, svg, text) for id_, title, svg, text in drawn if svg is not None]


def report(
    summary: Summary,
    records: Sequence[Record],
    figures: Sequence[Section],
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

    here = files("prosopon.experiments")

    def read(name: str) -> str:
        return here.joinpath(name).read_text("utf-8")

    missing, left_out = unfinished(records), unasked(records)
    notes = notes_of(records)
    contents = [
        ("conclusions", "Conclusions"), ("arms", "Arms"), ("costs", "Costs"),
        *((each.id, each.title) for each in figures),
        ("answers", "Answers"), ("tests", "Tests"),
        *([("notes", "Tasks")] if notes else []),
        *([("missing", "Not measured")] if missing or left_out else []), ("settings", "Repeat it"),
    ]  # fmt: skip
    page = Environment(autoescape=True, trim_blocks=True).from_string(read("report.html.jinja"))
    return page.render(
        title=title, lead=lead, contents=contents, conclusions=conclusions(summary),
        headings=headings(summary), rows=summary.rows, costs=COSTS, cost=cost,
        figures=[{**vars(each), "svg": Markup(each.svg)} for each in figures],
        answers=answers(records), tests=summary.comparisons, missing=missing, command=command,
        unasked=left_out, notes=notes, judges=judges_told(records),
        settings=json.dumps(settings, indent=2, ensure_ascii=False),
        css=Markup(read("report.css")), script=Markup(read("report.js")),
    )  # fmt: skip


def answers(records: Sequence[Record], shown: int = SHOWN) -> list[dict[str, Any]]:
    """Return the first free answers of every contrast, arm by arm, of the first seed."""
    arms = by_arm(records)
    told: dict[tuple[str, str], dict[str, Any]] = {}
    for arm, each in arms.items():
        first = min(record.cell.seed for record in each)
        for record in each:
            result = record.results.get("free-text")
            if result is None or record.cell.seed != first:
                continue
            for outcome in result.outcomes[:shown]:
                key = record.cell.contrast, outcome.question
                block = told.setdefault(
                    key, {"contrast": key[0], "prompt": outcome.prompt, "told": []}
                )
                block["told"].append((arm, outcome.answer, _verdict(outcome.values)))
    return list(told.values())


def _verdict(values: Mapping[str, float]) -> str:
    return next((k for k in ("target", "opposite", "neither") if values.get(k) == 1), "")
