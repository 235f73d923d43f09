"""Free answers that the base finds unlikelier than nearly all of its own.

The limit of a judge lets through what is as unlikely as the known authors' answers. Idioms cost a
small model as many nats as broken text does. Beside the base's own answers alone both show.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median

import numpy as np

from prosopon.experiments.records import Record
from prosopon.intervals import Interval, bootstrap_interval

BEYOND = 0.05  # share of the base's own answers that lie beyond the limit
TASK = "free-text"

Key = tuple[str, int]
"""A contrast and a seed."""


def unlikely_shares(
    records: Sequence[Record], base: Sequence[Record]
) -> tuple[Interval | None, Interval | None]:
    """Return the shares of free answers that are unlikely, and that are on target and not unlikely.

    An answer is unlikely if it costs the base more nats a token than 95% of its own answers to
    the same contrast's questions do. The excess over their mean counts times the square root of
    the tokens, or of the median number of them where there are more, as a mean over few tokens
    varies more. An empty answer is unlikely. Intervals are 95%, bootstrap over questions.

    Args:
        records: Of one arm.
        base: Of the base.
    """
    own = {_key(record): rows for record in base if (rows := _values(record))}
    unlikely: dict[tuple[str, str], list[float]] = defaultdict(list)
    target: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records:
        if _key(record) not in own:
            continue
        excess, limit = _limit(own[_key(record)])
        for question, values in _values(record):
            beyond = excess(values) > limit
            place = (record.cell.contrast, question)
            unlikely[place].append(float(beyond))
            target[place].append(values.get("target", 0.0) * (not beyond))
    if not unlikely:
        return None, None
    return bootstrap_interval([*unlikely.values()]), bootstrap_interval([*target.values()])


def _key(record: Record) -> Key:
    return record.cell.contrast, record.cell.seed


def _values(record: Record) -> list[tuple[str, Mapping[str, float]]]:
    result = record.results.get(TASK)
    outcomes = result.outcomes if result else ()
    return [(o.question, o.values) for o in outcomes if "base-tokens" in o.values]


class _Excess:
    """Nats a token above the base's mean, times the square root of the tokens."""

    def __init__(self, rows: Sequence[Mapping[str, float]]) -> None:
        self._mean = fmean(row["base-nats"] / row["base-tokens"] for row in rows)
        self._typical = median(row["base-tokens"] for row in rows)

    def __call__(self, row: Mapping[str, float]) -> float:
        tokens = row["base-tokens"]
        if not tokens:
            return math.inf
        return (row["base-nats"] / tokens - self._mean) * math.sqrt(min(tokens, self._typical))


def _limit(own: Sequence[tuple[str, Mapping[str, float]]]) -> tuple[_Excess, float]:
    """Return what measures an answer, and the most that is not unlikely."""
    rows = [values for _, values in own if values["base-tokens"]]
    if not rows:
        return _Excess([{"base-nats": 0.0, "base-tokens": 1.0}]), math.inf
    excess = _Excess(rows)
    return excess, float(np.quantile([*map(excess, rows)], 1 - BEYOND))
