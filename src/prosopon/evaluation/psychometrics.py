"""Arithmetic of questionnaires: reverse keys, scores, reliability. No models here."""

from collections.abc import Sequence
from statistics import fmean, variance

from prosopon.errors import DataError

TINY = 1e-12  # below it a variance is rounding


def keyed(answers: Sequence[float], keys: Sequence[int]) -> list[float]:
    """Return answers in [-1, 1] with those to reverse-keyed items turned round.

    Args:
        answers: One for each item, 1 is full agreement.
        keys: 1, or -1 for a reverse-keyed item.

    Raises:
        DataError: Their numbers differ, or a key is neither.
    """
    if len(answers) != len(keys):
        raise DataError(f"{len(answers)} answers to {len(keys)} items")
    if any(key not in (1, -1) for key in keys):
        raise DataError("an item's key is 1 or -1")
    return [answer * key for answer, key in zip(answers, keys, strict=True)]


def score(answers: Sequence[float], keys: Sequence[int]) -> float:
    """Return a scale's score in [-1, 1]: the mean of the keyed answers.

    Raises:
        DataError: There are no items, or see :func:`keyed`.
    """
    if not answers:
        raise DataError("a scale without items has no score")
    return fmean(keyed(answers, keys))


def acquiescence(answers: Sequence[float]) -> float:
    """Return the mean answer before any key is turned.

    0 where half of the items are reversed and nothing is agreed with for agreement's sake.

    Raises:
        DataError: There are no items.
    """
    if not answers:
        raise DataError("no answers")
    return fmean(answers)


def cronbach_alpha(rows: Sequence[Sequence[float]]) -> float | None:
    """Return Cronbach's alpha (Cronbach 1951), at most 1.

    k/(k-1) * (1 - sum of the items' variances / variance of the sums), variances with n - 1.

    Args:
        rows: Keyed answers, a row for each respondent, a column for each item.

    Returns:
        None where it is not defined: fewer than two respondents or items, or all respondents
        have the same sum. It is negative where items contradict each other.

    Raises:
        DataError: Rows of different length.
    """
    if len({len(row) for row in rows}) > 1:
        raise DataError("respondents answered different numbers of items")
    items = len(rows[0]) if rows else 0
    if len(rows) < 2 or items < 2:
        return None
    total: float = variance([sum(row) for row in rows])
    if total < TINY:
        return None
    single: float = sum(variance(column) for column in zip(*rows, strict=True))
    return items / (items - 1) * (1 - single / total)


def letter(value: float, letters: tuple[str, str]) -> str:
    """Return the letter of a score's sign; ``x`` where it is 0, so that no side wins a tie."""
    if abs(value) < TINY:
        return "x"
    return letters[0] if value > 0 else letters[1]
