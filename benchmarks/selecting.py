"""Building masks against a loop over rows with ``torch.topk``, as the released script does it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from benchmarks.base import Row, benchmark, compare
from prosopon.selection import Scored, kept_count, select

SPARSITY = 0.3
GOAL = 0.1
SHAPES = {"query": (768, 768), "up": (2048, 768), "down": (768, 2048), "large": (4096, 4096)}


@benchmark("mask-building", "selection", "row masks / a loop of torch.topk over rows")
def mask_building(repeats: int) -> list[Row]:
    """Rows without ties, and rows in which relu made two fifths of the scores equal."""
    plain = _scores(0)
    half = {name: score * _alive(score.shape[1]) for name, score in plain.items()}
    rows = []
    for name, scores, ties in (("no ties", plain, None), ("ties as after relu", half, plain)):
        sites = [Scored(n, s, None if ties is None else ties[n]) for n, s in scores.items()]

        def work(sites: list[Scored] = sites) -> None:
            select(sites, SPARSITY)

        def loop(scores: Mapping[str, Tensor] = scores) -> None:
            loop_of_topk(scores)

        rows.append(
            compare(
                f"row masks, {name}", work, "loop of torch.topk over rows", loop, repeats,
                goal=GOAL, weights=sum(score.numel() for score in scores.values()),
            )
        )  # fmt: skip
    return rows


@benchmark("patterns", "selection", "every pattern / a loop of torch.topk over rows")
def patterns(repeats: int) -> list[Row]:
    """What the other patterns cost on the same scores."""
    scores = {name: score for name, score in _scores(0).items() if name != "large"}
    return [
        compare(
            f"{pattern} masks",
            partial(select, [Scored(*item) for item in scores.items()], share, pattern=pattern),
            "loop of torch.topk over rows",
            lambda: loop_of_topk(scores),
            repeats,
            weights=sum(score.numel() for score in scores.values()),
        )
        for pattern, share in (("site", 0.3), ("global", 0.3), ("2:4", None), ("4:8", None))
    ]


def loop_of_topk(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return row masks as a loop over rows gives them; which of equals are kept is left open."""
    masks = {}
    for name, score in scores.items():
        count = kept_count(score.shape[1], SPARSITY)
        mask = torch.zeros(score.shape, dtype=torch.bool)
        for row in range(len(score)):
            mask[row, torch.topk(score[row], count).indices] = True
        masks[name] = mask
    return masks


def _scores(seed: int) -> dict[str, Tensor]:
    """Return scores as Wanda makes them: |weight| times a statistic of the channel."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator).abs()
        * torch.rand(1, shape[1], generator=generator)
        for name, shape in SHAPES.items()
    }


def _alive(channels: int) -> Tensor:
    """Return 0 for two fifths of the channels, 1 for the others."""
    return (torch.rand(channels, generator=torch.Generator().manual_seed(1)) > 0.4).float()
