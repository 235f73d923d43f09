"""How far a questionnaire's scores can be trusted: pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import pvariance


def cronbach_alpha(scores: Sequence[Sequence[float]]) -> float | None:
    """Return Cronbach's alpha of a scale (Cronbach 1951).

    ``k / (k - 1) * (1 - sum of the items' variances / variance of the totals)`` for k items.

    Args:
        scores: One row a respondent, one column an item, reverse keys already turned; at least
            two rows and two columns.

    Returns:
        None where the totals do not vary: every respondent is alike, and alpha has no meaning.
    """
    items = list(zip(*scores, strict=True))
    total = pvariance([sum(row) for row in scores])
    if total == 0 or len(items) < 2:
        return None
    spread = sum(pvariance(item) for item in items)
    return float(len(items) / (len(items) - 1) * (1 - spread / total))


def agreement(place: float, options: int) -> float:
    """Return the place of a chosen option, 0 for full agreement, as a score in [-1, 1]."""
    return 1 - 2 * place / (options - 1)


def letter(score: float, high: str, low: str) -> str:
    """Return the pole that a score speaks for; ``x`` at exactly 0."""
    return high if score > 0 else low if score < 0 else "x"
