"""Turning scores into keep-masks: the checks, then the pattern."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from prosopon.errors import OptionError
from prosopon.selection.patterns import PATTERNS


def select(
    scores: Mapping[str, Tensor],
    sparsity: float,
    *,
    pattern: str = "row",
    ties: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Keep the weights with the highest scores.

    Equal scores are ordered by ``ties`` (higher is kept), then by position: site in the order
    of ``scores``, row, column (lower is kept). The result depends on nothing else, so it is
    the same on every run and device. Infinite scores are allowed and mean first or last.

    Args:
        scores: Floating point scores [out, in] of every site.
        sparsity: Share of weights to prune, in (0, 1). Of n weights that compete,
            floor((1 - sparsity) n) are kept, which may be none of a short row.
        pattern: Which weights compete; a name in :data:`~prosopon.selection.PATTERNS`.
        ties: A second score for every site, of the same shapes.

    Returns:
        Bool [out, in] for every site, True where the weight is kept, on the scores' device.

    Raises:
        OptionError: The sparsity is outside (0, 1), there are no scores, a score or tie is NaN
            or no floating point matrix, or ``ties`` does not match ``scores``.
        UnknownNameError: No such pattern.
    """
    chosen = PATTERNS.get(pattern)
    if not 0.0 < sparsity < 1.0:
        raise OptionError(f"sparsity {sparsity}: must lie between 0 and 1, both excluded")
    _check_scores("scores", scores)
    if ties is not None:
        _check_ties(ties, scores)
    return chosen(scores, sparsity, ties)


def _check_scores(what: str, scores: Mapping[str, Tensor]) -> None:
    """Refuse what has no order."""
    if not scores:
        raise OptionError(f"{what} of no site were given: there is nothing to select from")
    for name, score in scores.items():
        if score.ndim != 2 or not score.numel() or not score.is_floating_point():
            raise OptionError(
                f"{what} of site {name!r} must be a floating point matrix [out, in], not "
                f"{str(score.dtype).removeprefix('torch.')} {list(score.shape)}"
            )
        if bad := int(torch.isnan(score).sum()):
            raise OptionError(f"{what} of site {name!r}: {bad} of {score.numel()} are NaN")


def _check_ties(ties: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> None:
    """Refuse ties that do not lie weight by weight beside the scores."""
    if odd := sorted(set(ties) ^ set(scores)):
        raise OptionError(f"ties and scores are not of the same sites: {', '.join(odd)}")
    _check_scores("ties", ties)
    for name, score in scores.items():
        if ties[name].shape != score.shape:
            raise OptionError(
                f"ties of site {name!r} are {list(ties[name].shape)}, its scores "
                f"{list(score.shape)}"
            )
