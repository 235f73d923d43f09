"""Lines: the few rows and columns of a site in which all that is pruned must lie.

A mask whose pruned weights lie in R rows and columns changes its matrix by rank R at most, so
that a LoRA of that rank holds the mask exactly (:mod:`prosopon.export.lora`).

To choose the lines that cover most is a maximum coverage problem, NP-hard also where every weight
lies in one row and one column. Greedy choice covers at least 1 - 1/e of the most that is possible
(Nemhauser, Wolsey and Fisher 1978); exchanging the weakest line for a better one never covers
less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from prosopon.selection.ranking import keep_largest

if TYPE_CHECKING:
    from torch import Tensor

Benefits = NDArray[Any]

TRIES = 8  # thresholds looked at between too few weights in the lines and enough
LEVEL = 1e-3  # what a weight at the threshold counts, of one at the lowest score
BETTER = 1 + 1e-9  # by so much must a line be better than the one that it replaces


def choose_lines(benefit: Benefits, count: int) -> NDArray[np.bool_]:
    """Return which weights lie in the ``count`` rows and columns that cover most.

    Lines are taken one by one, each the one that adds most (of equals rows first, then the
    lower index); then the line that covers least alone is exchanged as long as another would add
    more. A line that adds nothing is not taken.

    Args:
        benefit: Float [out, in], not negative and finite.
        count: Most rows and columns together.

    Returns:
        Bool [out, in], True in the lines.
    """
    rows, columns = benefit.shape
    if count >= min(rows, columns):
        return np.ones(benefit.shape, dtype=np.bool_)
    # What a line covers outside of the chosen lines that cross it, be it chosen or not.
    sums = (benefit.sum(axis=axis, dtype=np.float64) for axis in (1, 0))
    alone = np.concatenate(list(sums))
    chosen = np.zeros(rows + columns, dtype=np.bool_)

    def change(line: int, sign: int) -> None:
        chosen[line] = sign > 0
        if line < rows:
            alone[rows:] -= sign * benefit[line]
        else:
            alone[:rows] -= sign * benefit[:, line - rows]

    def best() -> int:
        return int(np.where(chosen, -np.inf, alone).argmax())

    for _ in range(min(count, rows + columns)):
        line = best()
        if alone[line] <= 0:
            break
        change(line, 1)
    for _ in range(count if chosen.any() else 0):
        weakest = int(np.where(chosen, alone, np.inf).argmin())
        change(weakest, -1)
        line = best()
        if alone[line] <= BETTER * alone[weakest]:
            change(weakest, 1)
            break
        change(line, 1)
    return chosen[:rows, None] | chosen[None, rows:]


def keep_outside_lines(
    scores: Tensor, count: int, lines: int, ties: Tensor | None = None
) -> Tensor:
    """Prune the ``count`` lowest scores of one site that lie in few rows and columns.

    A weight counts for its lines by how far its score is below a threshold, which rises from the
    ``count``-th lowest score until the lines hold enough weights below it.

    Args:
        scores: [out, in], floating point without NaN.
        count: How many to prune; fewer go where the lines hold fewer.
        lines: Most rows and columns together.
        ties: Second score, of the same shape.

    Returns:
        Bool [out, in], False where pruned, on the scores' device.
    """
    if count <= 0:
        return torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
    values = _finite(scores)
    ordered = np.sort(values, axis=None)
    few, many = min(count, len(ordered)), len(ordered)  # weights below the threshold

    def lines_below(number: int) -> tuple[NDArray[np.bool_], bool]:
        threshold = ordered[number - 1]
        span = float(threshold - ordered[0]) or 1.0
        benefit = np.where(values <= threshold, threshold - values + LEVEL * span, 0)
        inside = choose_lines(benefit, lines)
        return inside, int((inside & (values <= threshold)).sum()) >= count

    inside, enough = lines_below(few)
    if not enough:
        inside, _ = lines_below(many)
        for _ in range(TRIES):
            number = round((few * many) ** 0.5)
            trial, enough = lines_below(number)
            few, many = (few, number) if enough else (number, many)
            inside = trial if enough else inside
    room = torch.from_numpy(inside).to(scores.device)
    # What lies outside is above every score in the lines, or equal and kept first.
    outside = torch.where(room, scores, torch.inf)
    second = None if ties is None else torch.where(room, ties, torch.inf)
    (keep,) = keep_largest([outside], scores.numel() - count, None if second is None else [second])
    return keep | ~room


def _finite(scores: Tensor) -> Benefits:
    """Return the scores as numpy, what is infinite a little beyond the rest."""
    values = scores.detach().cpu().to(torch.promote_types(scores.dtype, torch.float32))
    array: Benefits = values.numpy()
    finite = array[np.isfinite(array)]
    low, high = (finite.min(), finite.max()) if len(finite) else (array.dtype.type(0),) * 2
    span = (high - low) or array.dtype.type(1)
    bounded: Benefits = np.nan_to_num(array, posinf=high + span, neginf=low - span)
    return bounded
