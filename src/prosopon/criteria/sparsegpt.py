"""SparseGPT: optimal brain surgery a column at a time, over the persona's activations.

Frantar & Alistarh 2023, arXiv 2301.00774. H is the damped second moment E h h^T of the site's
input and U the upper Cholesky factor of its inverse, H^-1 = U^T U. Then U_jj^2 is the first
diagonal entry of the inverse of H without the columns before j, which is what removing weight
j costs once those columns are settled: w_ij^2 / U_jj^2. (The persona paper writes the same as
w^2 / [H^-1]_jj^2, with the factor's name for H^-1.) What a removed weight would have added is
put into the columns after it, so that later blocks are scored on weights that already make up
for the earlier ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from prosopon.criteria.base import CRITERIA, SiteInputs, Solution, SolvedCriterion
from prosopon.errors import OptionError, StatisticsError
from prosopon.options import option, require
from prosopon.selection import find_pattern, keep_largest_per_row, kept_count
from prosopon.statistics import GramStatistics

if TYPE_CHECKING:
    from torch import Tensor

_N_OF_M = re.compile(r"(\d+):(\d+)")


@dataclass(frozen=True)
class SparseGPTOptions:
    """Options of ``sparsegpt``."""

    percdamp: float = option(0.01, "damping: this times the mean diagonal of H is added to it")
    block: int = option(128, "columns whose mask is chosen at once")
    compensate: bool = option(
        False,
        "also return the kept weights' values that make up for the pruned ones; false: the mask "
        "alone, and kept weights stay as they are",
    )

    def __post_init__(self) -> None:
        require(self.percdamp > 0, f"option percdamp={self.percdamp}: must be above 0")
        require(self.block >= 1, f"option block={self.block}: must be at least 1")


def inverse_factor(gram: GramStatistics, percdamp: float) -> tuple[Tensor, Tensor]:
    """Return U, upper triangular with H^-1 = U^T U, and which channels are dead.

    Args:
        gram: Gram matrix of the site's input, at least one token.
        percdamp: Damping, as a share of the mean diagonal of H.

    Returns:
        Float64 ``[in, in]`` and bool ``[in]``. A dead channel was always zero: its weights do
        nothing, and H has a one in its place.

    Raises:
        StatisticsError: No tokens, or H is not positive definite in spite of the damping.
    """
    if not gram.tokens:
        raise StatisticsError("a Gram matrix of no tokens")
    hessian = gram.mean.clone()
    diagonal = hessian.diagonal()
    dead = diagonal == 0
    diagonal[dead] = 1.0
    diagonal += percdamp * diagonal.mean()
    lower, failed = torch.linalg.cholesky_ex(hessian)
    if not failed:
        factor, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    if failed:
        raise StatisticsError(
            f"the Gram matrix of {gram.channels} channels over {gram.tokens} tokens cannot be "
            "inverted: give more examples, or a larger percdamp"
        )
    return factor, dead


def sparsegpt_solve(inputs: SiteInputs, pattern: str, options: SparseGPTOptions) -> Solution:
    """Choose a site's mask, block of columns by block, each after compensating for the last.

    Args:
        inputs: Weight, Gram matrix and sparsity.
        pattern: ``row``: every row loses the same number of weights in every block (up to one,
            so that rows add up to floor((1 - sparsity) in) kept). ``site``: the rows of a block
            compete, as in the authors' code. ``N:M``: every run of M columns keeps N of a row,
            chosen when its first column is reached. ``lora:R``: chosen at once, before anything
            is compensated.
        options: See :class:`SparseGPTOptions`.

    Returns:
        The mask and, with ``compensate``, the compensated weights. Everything in between is
        float64. A dead channel's weights count zero and are pruned first.
    """
    require(inputs.sparsity is not None, "criterion 'sparsegpt' needs the sparsity asked")
    assert inputs.sparsity is not None
    factor, dead = inverse_factor(_gram(inputs), options.percdamp)
    weight = inputs.weight.double().masked_fill(dead.to(inputs.weight.device), 0.0)
    factor = factor.to(weight.device)
    _, group = _n_of_m(pattern)
    if group and weight.shape[1] % group:
        raise OptionError(
            f"pattern {pattern!r}: a site of {weight.shape[1]} columns cannot be cut into groups "
            f"of {group}; leave it out with --ignore"
        )
    keep = torch.ones_like(weight, dtype=torch.bool)
    if settled := (rule := find_pattern(pattern)).lines is not None:
        saliency = weight.square() / factor.diagonal().square()
        keep = rule.rule({"": saliency}, inputs.sparsity, None)[""]
    # Blocks hold whole groups of N:M.
    step = max(options.block // group, 1) * group if group else options.block
    for start in range(0, weight.shape[1], step):
        stop = min(start + step, weight.shape[1])
        errors = torch.zeros(len(weight), stop - start, dtype=weight.dtype, device=weight.device)
        for column in range(start, stop):
            if not settled:
                _choose(weight, keep, factor, column, (start, stop), pattern, inputs.sparsity)
            removed = torch.where(keep[:, column], 0.0, weight[:, column])
            error = removed / factor[column, column]
            # Also sets the removed weight itself to zero, up to rounding.
            weight[:, column:stop] -= error.unsqueeze(1) * factor[column, column:stop]
            errors[:, column - start] = error
        weight[:, stop:] -= errors @ factor[start:stop, stop:]
    values = torch.where(keep, weight, 0.0).float() if options.compensate else None
    return Solution(keep, values)


def _choose(
    weight: Tensor,
    keep: Tensor,
    factor: Tensor,
    column: int,
    block: tuple[int, int],
    pattern: str,
    sparsity: float,
) -> None:
    """Settle which weights are kept, for the columns whose turn it is."""
    start, stop = block
    keep_count, group = _n_of_m(pattern)
    if (column - start) % (group or stop - start):
        return
    end = column + group if group else stop
    saliency = weight[:, column:end].square() / factor.diagonal()[column:end].square()
    if group:
        keep[:, column:end] = keep_largest_per_row(saliency, keep_count)
        return
    columns = weight.shape[1]
    total = weight.numel() if pattern == "site" else columns
    pruned = total - kept_count(total, sparsity)
    # Cumulative, so that the blocks add up to the asked number exactly.
    here = pruned * end // columns - pruned * start // columns
    competing = saliency.reshape(1, -1) if pattern == "site" else saliency
    chosen = keep_largest_per_row(competing, competing.shape[1] - here)
    keep[:, column:end] = chosen.view(len(weight), -1)


def _gram(inputs: SiteInputs) -> GramStatistics:
    require(inputs.gram is not None, "criterion 'sparsegpt' needs a Gram matrix of the target")
    assert inputs.gram is not None
    if inputs.gram.channels != inputs.weight.shape[1]:
        raise StatisticsError(
            f"a Gram matrix of {inputs.gram.channels} channels does not fit a weight of "
            f"{inputs.weight.shape[1]}"
        )
    return inputs.gram


def _n_of_m(pattern: str) -> tuple[int, int]:
    """Return (N, M) of a pattern N:M, (0, 0) for the others."""
    match = _N_OF_M.fullmatch(pattern)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _check(pattern: str, sparsity: float, options: SparseGPTOptions) -> None:
    rule = find_pattern(pattern)
    require(
        rule.name in ("row", "site") or bool(_n_of_m(rule.name)[1]) or rule.lines is not None,
        "criterion 'sparsegpt' settles a site's columns from left to right, one site at a "
        f"time: pattern 'row', 'site' or N:M such as '2:4', or lora:R, not {pattern!r}",
    )
    require(
        rule.lines is None or not options.compensate,
        f"option compensate changes weights all over a site, and pattern {pattern!r} those of a "
        "few rows and columns: leave one of the two out",
    )


CRITERIA.add(
    "sparsegpt",
    SolvedCriterion(
        name="sparsegpt",
        summary="optimal brain surgery over the persona's activations, the mask or an update too",
        source="Frantar & Alistarh 2023, arXiv 2301.00774; Ye et al. 2026, arXiv 2602.07164",
        options=SparseGPTOptions,
        solve=sparsegpt_solve,
        check=_check,
    ),
)
