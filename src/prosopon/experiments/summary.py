"""From records to rows of a table and tests between arms."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from prosopon.experiments.columns import (
    AGAINST_BASE,
    SHARED,
    TESTED,
    Column,
    against_base,
    clusters,
    columns_of,
    estimate,
)
from prosopon.experiments.frontier import FrontierPoint, frontier_points
from prosopon.experiments.records import Record, by_arm
from prosopon.intervals import (
    Interval,
    cohen_d,
    cohen_h,
    detectable_difference,
    holm,
    mean_interval,
    paired_difference,
)

REFERENCES = ("base", "prompt")
"""Arms that all others are tested against, where they were run."""


@dataclass(frozen=True)
class SummaryRow:
    """One variant of an arm over all contrasts and seeds.

    Attributes:
        arm: Its name: the arm with the options that are not the default.
        kind: Its kind.
        figures: Columns by name, with intervals over questions; None where the arm was not asked.
        over_seeds: The same columns, each seed's figure being one value; empty for one seed.
        costs: Means over cells: seconds, bytes, added tokens, latency, tokens per second.
        contrasts: Number of contrasts.
        seeds: Number of seeds.
        examples: Calibration examples of each side; 0 where it learns from none.
        options: Its options.
        registered: Name of the arm alone.
    """

    arm: str
    kind: str
    figures: Mapping[str, Interval | None]
    costs: Mapping[str, float | None]
    contrasts: int
    seeds: int
    over_seeds: Mapping[str, Interval] = field(default_factory=dict)
    examples: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    registered: str = ""


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
    """What an experiment says.

    Attributes:
        columns: Columns that some arm has, without those against the base.
        rows: One an arm.
        comparisons: Tests.
        frontier: Every arm at every level of loss; empty where none was run at a level.
    """

    columns: tuple[Column, ...]
    rows: tuple[SummaryRow, ...]
    comparisons: tuple[Comparison, ...]
    frontier: tuple[FrontierPoint, ...] = ()

    def headings(self) -> dict[str, str]:
        """Return the columns' headings with one line of help each."""
        listed = {column.name: column.help for column in self.columns}
        against = {
            name: text
            for name, text in AGAINST_BASE.items()
            if any(row.figures.get(name) for row in self.rows)
        }
        return {**listed, **against}

    def counts(self) -> dict[str, str]:
        """Return how many questions the figures of each column rest on, as a text."""
        texts = {}
        for name in self.headings():
            counts = {cell.count for row in self.rows if (cell := row.figures.get(name))}
            texts[name] = "-".join(map(str, sorted({min(counts), max(counts)}))) if counts else "0"
        return texts

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "columns": [asdict(column) for column in self.columns],
            "rows": [asdict(row) for row in self.rows],
            "comparisons": [asdict(c) | {"shown": c.shown} for c in self.comparisons],
            **({"frontier": [asdict(p) for p in self.frontier]} if self.frontier else {}),
        }


def summarise(records: Sequence[Record]) -> Summary:
    """Summarise the done records."""
    arms = by_arm(records)
    columns = tuple(columns_of([record for rows in arms.values() for record in rows]))
    first = {rows[0].cell.arm: label for label, rows in reversed(arms.items())}
    references = {name: first[name] for name in REFERENCES if name in first}
    base = arms[references["base"]] if "base" in references else []
    rows = tuple(_row(arm, own, base, columns) for arm, own in arms.items())
    tests = [
        test
        for column in columns
        if column.name in TESTED
        for reference in references.values()
        for test in _tests(arms, column, reference)
    ]
    return Summary(columns, rows, tuple(tests), frontier_points(records))


def _row(
    arm: str, records: Sequence[Record], base: Sequence[Record], columns: Sequence[Column]
) -> SummaryRow:
    first, seeds = records[0], sorted({record.cell.seed for record in records})
    over_seeds = {}
    if len(seeds) > 1:
        by_seed = [
            _figures(
                [r for r in records if r.cell.seed == seed],
                [r for r in base if r.cell.seed == seed],
                columns,
            )
            for seed in seeds
        ]
        for name in dict.fromkeys(name for figures in by_seed for name in figures):
            values = [cell.mean for figures in by_seed if (cell := figures.get(name))]
            if values:
                over_seeds[name] = mean_interval(values)
    return SummaryRow(
        arm, first.kind, _figures(records, base, columns), _costs(records),
        len({record.cell.contrast for record in records}), len(seeds), over_seeds,
        first.cell.examples, first.cell.options, first.cell.arm,
    )  # fmt: skip


def _figures(
    records: Sequence[Record], base: Sequence[Record], columns: Sequence[Column]
) -> dict[str, Interval | None]:
    own = {column.name: estimate(records, column) for column in columns}
    return {**own, **against_base(records, base)}


def _costs(records: Sequence[Record]) -> dict[str, float | None]:
    costs: dict[str, float | None] = {
        name: fmean(float(record.cost[name]) for record in records) for name in ("seconds", "bytes")
    }
    for name in ("added_tokens", "first_token", "answer", "tokens_per_second"):
        values = [record.speed[name] for record in records if name in record.speed]
        costs[name] = fmean(values) if values else None
    details = [record.cost["details"] for record in records]
    costs["pruned_share"] = fmean(float(row.get("pruned_share", 0)) for row in details)
    return costs


def _tests(
    arms: Mapping[str, Sequence[Record]], column: Column, reference: str
) -> list[Comparison]:
    theirs = clusters(arms[reference], column)
    tests = []
    for arm, records in arms.items():
        ours = clusters(records, column)
        shared = sorted(ours.keys() & theirs.keys())
        if arm == reference or not shared:
            continue
        tests.append(_test(column, arm, reference, [(ours[k], theirs[k]) for k in shared], shared))
    adjusted = holm([test.p for test in tests])
    return [
        Comparison(**{**vars(test), "adjusted": p}) for test, p in zip(tests, adjusted, strict=True)
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
