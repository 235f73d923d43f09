"""Patterns: which weights compete with each other for being kept.

A pattern is a pure function ``pattern(scores, sparsity, ties)`` that returns a bool matrix of
every site, True where the weight is kept. It gets what :func:`prosopon.selection.select` has
checked: floating point matrices without NaN, a sparsity in (0, 1), and ties of the same sites
and shapes or None. It must be deterministic, keep the higher of two unequal scores that
compete, and break ties by ``ties`` and then by position. To add one, register it in
:data:`PATTERNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from prosopon.registry import Registry
from prosopon.selection.ranking import keep_largest, keep_largest_per_row, kept_count

Pattern = Callable[[Mapping[str, Tensor], float, Mapping[str, Tensor] | None], dict[str, Tensor]]

PATTERNS: Registry[Pattern] = Registry("selection pattern")


@PATTERNS.register("row")
def row(
    scores: Mapping[str, Tensor], sparsity: float, ties: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Every output row keeps floor((1 - sparsity) in) weights, as in the paper."""
    return {
        name: keep_largest_per_row(
            score, kept_count(score.shape[1], sparsity), ties[name] if ties else None
        )
        for name, score in scores.items()
    }


@PATTERNS.register("site")
def site(
    scores: Mapping[str, Tensor], sparsity: float, ties: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Every site keeps floor((1 - sparsity) out in) weights, wherever they lie in it."""
    kept = {}
    for name, score in scores.items():
        count = kept_count(score.numel(), sparsity)
        (kept[name],) = keep_largest([score], count, [ties[name]] if ties else None)
    return kept


@PATTERNS.register("global")
def global_(
    scores: Mapping[str, Tensor], sparsity: float, ties: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """All weights of all sites compete: one threshold, exactly the asked number kept."""
    count = kept_count(sum(score.numel() for score in scores.values()), sparsity)
    second = [ties[name] for name in scores] if ties else None
    return dict(zip(scores, keep_largest(list(scores.values()), count, second), strict=True))
