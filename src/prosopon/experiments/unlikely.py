"""Free answers that the base finds unlikelier than nearly all of its own.

The limit of a judge lets through what is as unlikely as the known authors' answers. Idioms cost a
small model as many nats as broken text does. Beside the base's own answers alone both show.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

from prosopon.experiments.records import Record
from prosopon.intervals import Interval, bootstrap_interval
from prosopon.judges.reader import excess

BEYOND = 0.05  # share of the base's own answers that lie beyond the limit
TASK = "free-text"

Key = tuple[str, int]
"""A contrast and a seed."""


def unlikely_shares(
    records: Sequence[Record], base: Sequence[Record], task: str = TASK
) -> tuple[Interval | None, Interval | None]:
    """Return the shares of free answers that are unlikely, and that are on target and not unlikely.

    An answer is unlikely if it costs the base more nats a token than 95% of its own answers to the
    same contrast's questions at temperature 1 do. The excess over their mean counts times the
    square root of the tokens, or of the median number of them where there are more, as a mean over
    few tokens varies more. An empty answer is unlikely. Intervals are 95%, bootstrap over
    questions.

    Args:
        records: Of one arm.
        base: Of the base.
        task: The task that asked for the arm's answers; the base's are those of ``free-text``.
    """
    limits = {_key(record): limit for record in base if (limit := _limit(record)) is not None}
    unlikely: dict[tuple[str, str], list[float]] = defaultdict(list)
    target: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records:
        if (limit := limits.get(_key(record))) is None:
            continue
        for question, values in _values(record, task):
            beyond = limit.is_beyond(values)
            place = (record.cell.contrast, question)
            unlikely[place].append(float(beyond))
            target[place].append(values.get("target", 0.0) * (not beyond))
    if not unlikely:
        return None, None
    return bootstrap_interval([*unlikely.values()]), bootstrap_interval([*target.values()])


def _key(record: Record) -> Key:
    return record.cell.contrast, record.cell.seed


def _values(record: Record, task: str) -> list[tuple[str, Mapping[str, float]]]:
    result = record.results.get(task)
    outcomes = result.outcomes if result else ()
    return [(o.question, o.values) for o in outcomes if "base-tokens" in o.values]


class _Limit(NamedTuple):
    """How unlikely nearly all of the base's answers are at most."""

    mean: float  # nats a token
    typical: float  # tokens
    most: float  # excess

    def is_beyond(self, row: Mapping[str, float]) -> bool:
        """Tell whether an answer is unlikelier, or empty."""
        tokens = row["base-tokens"]
        return not tokens or excess(row["base-nats"], tokens, self.mean, self.typical) > self.most


def _limit(base: Record) -> _Limit | None:
    """Return what the base's own answers say; None where it wrote none."""
    rows = [(v["base-nats"], v["base-tokens"]) for _, v in _values(base, TASK) if v["base-tokens"]]
    if not rows:
        return None
    mean = fmean(nats / tokens for nats, tokens in rows)
    typical = median(tokens for _, tokens in rows)
    excesses = [excess(nats, tokens, mean, typical) for nats, tokens in rows]
    return _Limit(mean, typical, float(np.quantile(excesses, 1 - BEYOND)))
