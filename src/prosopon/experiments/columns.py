"""The figures of an arm: which outcomes they rest on, and how these are put together."""

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prosopon.evaluation.tasks import TASKS, TaskResult
from prosopon.experiments.records import Record
from prosopon.intervals import Interval, bootstrap_interval, ratio_interval
from prosopon.judges import SIGNS, Verdict, either

EITHER = "target:either"
"""A measure that no task writes: it follows from what all judges say."""

Better = Literal["higher", "lower", "neither"]
Cluster = tuple[str, str]
"""(contrast, question): what is counted as evidence once, whatever the seeds."""


@dataclass(frozen=True)
class Column:
    """A measure of a task, as a column of the table.

    Attributes:
        name: Heading.
        task: The task.
        measure: The measure; for a perplexity the nats.
        tokens: For a perplexity the measure that holds the tokens; None for a mean.
        better: Which direction is good.
        help: One line.
        loss: Whether it says what was lost rather than what was gained.
    """

    name: str
    task: str
    measure: str
    help: str
    better: Better = "neither"
    tokens: str | None = None
    loss: bool = False


COLUMNS: tuple[Column, ...] = (
    Column(
        "choice", "choice", "per-token",
        "questions whose matching answer is likelier per token", "higher",
    ),
    Column("summed", "choice", "summed", "the same by summed log-likelihood"),
    Column("per byte", "choice", "per-byte", "the same per byte"),
    Column(
        "calibrated", "choice", "calibrated",
        "the same less each answer's likelihood after an empty question under the same arm; it "
        "takes away whatever an arm likes to say unasked",
    ),
    Column("A/B", "a-b", "per-token", "lettered options, mean of both orders", "higher"),
    Column("A/B same", "a-b", "consistent", "same answer in both orders of the options"),
    Column("yes/no", "yes-no", "per-token", "statements answered as the persona would", "higher"),
    Column("says yes", "yes-no", "yes", "statements answered Yes"),
    Column("text: target", "free-text", "target", "free answers that are the persona's", "higher"),
    Column(
        "either judge", "free-text", EITHER,
        "free answers that one judge gives to the persona and no other to the opposite", "higher",
    ),
    Column("opposite", "free-text", "opposite", "free answers that are the opposite's"),
    Column("neither", "free-text", "neither", "free answers that are nobody's: broken or astray"),
    Column(
        "classifier", "free-text", "target:classifier",
        "free answers that a classifier gives to the persona rather than the opposite",
    ),
    Column(
        "three-way", "free-text", "target:three-way",
        "the same of a judge for whom what the base says anyway is a class of its own",
    ),
    Column("LLM judge", "free-text", "target:llm", "free answers an LLM gives to the persona"),
    Column(
        "repetition", "free-text", "repetition", "repeated 3-grams in free answers", "lower",
        loss=True,
    ),
    Column(
        "recital", "free-text", "recital",
        "free answers with four words in a row of a calibration answer; read it beside the next",
    ),
    Column(
        "unseen recital", "free-text", "unseen-recital",
        "the same of as many answers of the persona that no arm learned from",
    ),
    Column(
        "base's recital", "free-text", "base-recital",
        "the base's own answers to the same questions with four such words",
    ),
    Column("words", "free-text", "words", "length of a free answer in words"),
    *(
        Column(name.replace("-", " "), "free-text", name, help.replace("an answer's", "its"))
        for name, help in SIGNS.items()
    ),
    Column(
        "text ppl", "free-text", "base-nats", "perplexity of the free answers under the base model",
        tokens="base-tokens",
    ),
    Column(
        "neutral", "neutral", "right", "neutral questions answered right", "higher", loss=True
    ),
    Column(
        "general ppl", "perplexity", "nats", "perplexity of held-out general text", "lower",
        tokens="tokens", loss=True,
    ),
    Column(
        "out of place", "cross-talk", "out-of-place",
        "free answers to questions of other axes that are the persona's", "lower", loss=True,
    ),
    Column(
        "astray", "cross-talk", "astray",
        "free answers to questions of other axes that are nobody's on the axis asked about",
        "lower", loss=True,
    ),
)  # fmt: skip
"""Columns of the table; those that no record holds are left out."""

CROSS_TALK, RATIO = "cross-talk", "ppl ratio"
AGAINST_BASE = {
    RATIO: "perplexity of held-out general text over the base's",
    CROSS_TALK: "mean absolute change of the choice rate on the other axes against the base; "
    "interval over personas",
}
"""Columns that compare an arm with the base, with one line on each."""

SHARED = ("neutral", "perplexity", "mbti", "big-five", "cross-talk")
"""Tasks that ask the same whatever the persona: a question is one cluster over all contrasts."""

TESTED = ("choice", "text: target", "neutral", "general ppl")
"""Columns whose differences between arms are tested."""


def columns_of(records: Sequence[Record]) -> list[Column]:
    """Return the columns for records: those of above, and one for any other task.

    That is the first of the task's measures that there are values of.
    """
    listed = {column.task for column in COLUMNS}
    others = {name for record in records for name in record.results} - listed
    columns = [column for column in COLUMNS if any(clusters([r], column) for r in records)]
    for name in sorted(others & set(TASKS.names())):
        named = (Column(name, name, *measure) for measure in TASKS.get(name).measures.items())
        measured = (column for column in named if any(clusters([r], column) for r in records))
        columns += itertools.islice(measured, 1)
    return columns


def clusters(records: Sequence[Record], column: Column) -> dict[Cluster, tuple[float, float]]:
    """Return (sum of values, their number) of each question; for a perplexity (nats, tokens)."""
    sums: dict[Cluster, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for record in records:
        result = record.results.get(column.task)
        for outcome in result.outcomes if result else ():
            value = value_of(outcome.values, column.measure)
            if value is None:
                continue
            total = sums[record.cell.contrast, outcome.question]
            total[0] += value
            total[1] += outcome.values[column.tokens] if column.tokens else 1.0
    return {key: (value, count) for key, (value, count) in sums.items()}


def value_of(values: Mapping[str, float], measure: str) -> float | None:
    """Return a measure of an answer; :data:`EITHER` where more than one judge read it."""
    if measure != EITHER:
        return values.get(measure)
    tails = [name.removeprefix("target") for name in values if name.startswith("target")]
    if len(tails) < 2:
        return None
    sides: tuple[Verdict, ...] = ("target", "opposite")
    said = [side for side in sides for tail in tails if values.get(f"{side}{tail}")]
    return float(either(said) == "target")


def estimate(records: Sequence[Record], column: Column) -> Interval | None:
    """Return an arm's figure with its bootstrap interval over questions; None where not asked.

    A question that every contrast asks is one cluster over all of them, see :data:`SHARED`.
    """
    rows = clusters(records, column)
    if not rows:
        return None
    merged: dict[Cluster, list[tuple[float, float]]] = defaultdict(list)
    for (contrast, question), pair in rows.items():
        merged["" if column.task in SHARED else contrast, question].append(pair)
    if column.tokens is None:
        return bootstrap_interval([[v / n for v, n in group] for group in merged.values()])
    rate = ratio_interval(
        [(sum(v for v, _ in group), sum(n for _, n in group)) for group in merged.values()]
    )
    return exponential(rate)


def against_base(records: Sequence[Record], base: Sequence[Record]) -> dict[str, Interval]:
    """Return the columns of :data:`AGAINST_BASE` that can be told."""
    figures = {RATIO: perplexity_ratio(records, base), CROSS_TALK: cross_talk(records, base)}
    return {name: interval for name, interval in figures.items() if interval is not None}


def perplexity_ratio(records: Sequence[Record], base: Sequence[Record]) -> Interval | None:
    """Return the perplexity of general text over the base's, with an interval over texts."""
    column = next(column for column in COLUMNS if column.task == "perplexity")
    changes: dict[str, list[tuple[float, float]]] = defaultdict(list)
    # A seed's texts may be other texts than another's of the same number.
    for seed in {record.cell.seed for record in records}:
        ours, theirs = ([r for r in side if r.cell.seed == seed] for side in (records, base))
        before = clusters(theirs, column)
        for (contrast, text), (nats, tokens) in clusters(ours, column).items():
            if (contrast, text) in before:
                reference, count = before[contrast, text]
                changes[text].append((nats - reference * tokens / count, tokens))
    if not changes:
        return None
    sums = [(sum(n for n, _ in rows), sum(t for _, t in rows)) for rows in changes.values()]
    return exponential(ratio_interval(sums))


def cross_talk(records: Sequence[Record], base: Sequence[Record]) -> Interval | None:
    """Return the mean absolute change of the other axes' choice rates against the base."""
    reference = {(record.cell.contrast, record.cell.seed): axis_rates(record) for record in base}
    groups: dict[str, list[float]] = defaultdict(list)
    for record in records:
        before = reference.get((record.cell.contrast, record.cell.seed), {})
        after = axis_rates(record)
        changes = [abs(after[axis] - before[axis]) for axis in after if axis in before]
        if changes:
            groups[record.cell.contrast].append(sum(changes) / len(changes))
    return bootstrap_interval(list(groups.values())) if groups else None


def axis_rates(record: Record) -> Mapping[str, float]:
    """Return the choice rate of every other axis that a record asked."""
    values: dict[str, list[float]] = defaultdict(list)
    result = record.results.get("cross-talk")
    for outcome in result.outcomes if result else ():
        for name, value in outcome.values.items():
            if name.startswith("choice:"):
                values[name.removeprefix("choice:")].append(value)
    return {axis: sum(rates) / len(rates) for axis, rates in values.items()}


def measures_of(result: TaskResult) -> dict[str, Interval]:
    """Return every measure of a task with its bootstrap interval over questions.

    Nats and tokens say little one by one: their perplexity stands for them.
    """
    groups: dict[str, dict[str, list[float]]] = {}
    for outcome in result.outcomes:
        for measure, value in outcome.values.items():
            groups.setdefault(measure, {}).setdefault(outcome.question, []).append(value)
    sums = {
        prefix: (groups.pop(f"{prefix}nats", None), groups.pop(f"{prefix}tokens", None))
        for prefix in ("", "base-")
    }
    intervals = {
        measure: bootstrap_interval(list(values.values())) for measure, values in groups.items()
    }
    for prefix, (nats, tokens) in sums.items():
        if nats and tokens:
            pairs = [(sum(nats[question]), sum(tokens[question])) for question in nats]
            intervals[f"{prefix}perplexity"] = exponential(ratio_interval(pairs))
    return intervals


def exponential(rate: Interval) -> Interval:
    """Return the perplexity of nats per token, ends and all."""
    return Interval(_exp(rate.mean), _exp(rate.low), _exp(rate.high), rate.count)


def _exp(nats: float) -> float:
    return math.exp(min(nats, 700.0)) if nats == nats else math.inf
