"""Light masks that lie in few rows and columns of every site, so that a LoRA holds them exactly.

The lines are chosen anew for every mask, from what the weights' removal gains: a mask is never
cut down afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from prosopon.extraction.light.candidates import highest
from prosopon.selection import choose_lines

if TYPE_CHECKING:
    from torch import Tensor

TRIES = 6  # thresholds looked at where the lines hold more weights than may go


def highest_in_lines(
    scores: Mapping[str, Tensor],
    positions: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, int]],
    count: int,
    lines: int,
) -> dict[str, Tensor]:
    """Return indices, ascending, of the highest scores above zero in the best lines of each site.

    A weight counts for its lines by how far its score is above a threshold: zero, or where the
    lines then hold more than ``count``, a higher one that leaves about as many.

    Args:
        scores: Float [n] of every site.
        positions: Flat positions of the same weights in their matrices.
        shapes: [out, in] of every site.
        count: Most indices over all sites.
        lines: Most rows and columns together, of each site.
    """

    def above(threshold: float) -> dict[str, Tensor]:
        return {
            name: _inside(score - threshold, positions[name], shapes[name], lines)
            for name, score in scores.items()
        }

    def number(inside: Mapping[str, Tensor], threshold: float) -> int:
        return sum(int((mask & (scores[name] > threshold)).sum()) for name, mask in inside.items())

    inside = above(0.0) if count > 0 else {}
    if number(inside, 0.0) > count:
        free = highest(scores, count)  # as many without lines: fewer of them lie in lines
        low, high = 0.0, min(float(scores[name][i].min()) for name, i in free.items() if len(i))
        for _ in range(TRIES):
            middle = (low + high) / 2
            trial = above(middle)
            if number(trial, middle) >= count:
                low, inside = middle, trial
            else:
                high = middle
    worth = {
        name: torch.where(inside[name], score, 0.0) if inside else torch.zeros_like(score)
        for name, score in scores.items()
    }
    return highest(worth, count)


def _inside(benefit: Tensor, flat: Tensor, shape: tuple[int, int], lines: int) -> Tensor:
    """Return which of a site's weights lie in its best lines, bool [n]."""
    matrix = torch.zeros(shape[0] * shape[1])
    where = flat.cpu()
    matrix[where] = benefit.clamp_min(0).cpu()
    covered = torch.from_numpy(choose_lines(matrix.view(shape).numpy(), lines))
    return covered.view(-1)[where].to(flat.device)
