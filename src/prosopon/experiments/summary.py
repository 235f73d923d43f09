"""From records to rows of a table and tests between arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from prosopon.experiments.columns import (
    CROSS_TALK,
    SHARED,
    TESTED,
    Column,
    clusters,
    columns_of,
    cross_talk,
    estimate,
)
from prosopon.experiments.records import Record, by_arm
from prosopon.intervals import (
    Interval,
    cohen_d,
    cohen_h,
    detectable_difference,
    holm,
    paired_difference,
)

REFERENCES = ("base", "prompt")
"""Arms that all others are tested against, where they were run."""


@dataclass(frozen=True)
class Row:
    """One arm over all contrasts and seeds.

    Attributes:
        arm: Its name.
        kind: Its kind.
        figures: Columns by name; None where the arm was not asked.
        costs: Means over cells: seconds, bytes, added tokens, latency, tokens per second.
        contrasts: Number of contrasts.
        seeds: Number of seeds.
    """

    arm: str
    kind: str
    figures: Mapping[str, Interval | None]
    costs: Mapping[str, float | None]
    contrasts: int
    seeds: int


@dataclass(frozen=True)
class Comparison:
    """An arm against another on one column, question by question.

    Attributes:
        column: Name of the column.
        arm: The arm.
        against: The reference.
        difference: Arm less reference; for a perplexity the difference of nats per token.
        p: Of the sign-flip test over questions.
        adjusted: The same after Holm's correction over all arms against this reference on this
            column.
        effect: Cohen's h for shares, d_z for nats; None where it has no meaning.
        detectable: The smallest difference that so many questions would show (80% power).
        questions: Questions that both were asked.
    """

    column: str
    arm: str
    against: str
    difference: Interval
    p: float
    adjusted: float
    effect: float | None
    detectable: float | None
    questions: int

    @property
    def shown(self) -> bool:
        """Whether a difference is shown: corrected p below 0.05 and an interval without 0."""
        return self.adjusted < 0.05 and not self.difference.low <= 0 <= self.difference.high


@dataclass(frozen=True)
class Summary:
    """What a comparison found.

    Attributes:
        columns: Columns that some arm has, cross-talk last.
        rows: One an arm.
        comparisons: Tests.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "columns": [asdict(column) for column in self.columns],
            "rows": [asdict(row) for row in self.rows],
            "comparisons": [asdict(c) | {"shown": c.shown} for c in self.comparisons],
        }


def summarise(records: Sequence[Record]) -> Summary:
    """Summarise the done records."""
    arms = by_arm(records)
    columns = tuple(columns_of([record for each in arms.values() for record in each]))
    base = arms.get("base", [])
    rows = tuple(_row(arm, each, base, columns) for arm, each in arms.items())
    tests = [
        test
        for column in columns
        if column.name in TESTED
        for reference in REFERENCES
        if reference in arms
        for test in _tests(arms, column, reference)
    ]
    return Summary(columns, rows, tuple(tests))


def _row(
    arm: str, records: Sequence[Record], base: Sequence[Record], columns: Sequence[Column]
) -> Row:
    figures: dict[str, Interval | None] = {c.name: estimate(records, c) for c in columns}
    talk = cross_talk(records, base)
    if talk is not None:
        figures[CROSS_TALK] = talk
    costs: dict[str, float | None] = {
        "seconds": fmean(float(r.cost["seconds"]) for r in records),
        "bytes": fmean(float(r.cost["bytes"]) for r in records),
    }
    for name in ("added_tokens", "first_token", "answer", "tokens_per_second"):
        values = [r.speed[name] for r in records if name in r.speed]
        costs[name] = fmean(values) if values else None
    pruned = [float(r.cost["details"].get("pruned_share", 0)) for r in records]
    costs["pruned_share"] = fmean(pruned)
    return Row(
        arm, records[0].kind, figures, costs,
        len({r.cell.contrast for r in records}), len({r.cell.seed for r in records}),
    )  # fmt: skip


def _tests(
    arms: Mapping[str, Sequence[Record]], column: Column, reference: str
) -> list[Comparison]:
    theirs = clusters(arms[reference], column)
    found = []
    for arm, records in arms.items():
        ours = clusters(records, column)
        shared = sorted(ours.keys() & theirs.keys())
        if arm == reference or not shared:
            continue
        found.append(_test(column, arm, reference, [(ours[k], theirs[k]) for k in shared], shared))
    adjusted = holm([test.p for test in found])
    return [
        Comparison(**{**vars(test), "adjusted": p}) for test, p in zip(found, adjusted, strict=True)
    ]


def _test(
    column: Column,
    arm: str,
    reference: str,
    pairs: Sequence[tuple[tuple[float, float], tuple[float, float]]],
    keys: Sequence[tuple[str, str]],
) -> Comparison:
    rows = [(a / n, b / m, m if column.tokens else 1.0) for (a, n), (b, m) in pairs]
    if column.task in SHARED:  # the same question under several contrasts is one question
        rows = _merged(rows, [question for _, question in keys])
    ours, theirs, weights = (list(values) for values in zip(*rows, strict=True))
    paired = paired_difference(ours, theirs, weights)
    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    if column.tokens is None:
        effect: float | None = cohen_h(fmean(ours), fmean(theirs))
    else:
        effect = cohen_d(gaps)
    detectable = detectable_difference(gaps) if len(gaps) > 1 else None
    return Comparison(
        column.name, arm, reference, paired.difference, paired.p, 1.0, effect, detectable, len(rows)
    )


def _merged(
    rows: Sequence[tuple[float, float, float]], names: Sequence[str]
) -> list[tuple[float, float, float]]:
    groups: dict[str, list[tuple[float, float, float]]] = {}
    for row, name in zip(rows, names, strict=True):
        groups.setdefault(name, []).append(row)
    return [
        (fmean(a for a, _, _ in group), fmean(b for _, b, _ in group), group[0][2])
        for group in groups.values()
    ]
