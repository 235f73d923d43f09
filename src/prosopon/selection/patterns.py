"""Patterns: which weights, or which units of weights, compete with each other for being kept.

A pattern's rule is a pure function ``rule(scores, sparsity, ties)`` that returns a bool matrix of
every site, True where the weight is kept. It gets what :func:`prosopon.selection.select` has
checked: floating point matrices without NaN, a sparsity in (0, 1), and ties of the same sites
and shapes or None. It must be deterministic, keep the higher of two unequal scores that
compete, and break ties by ``ties`` and then by position. To add one, register it in
:data:`PATTERNS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from prosopon.errors import OptionError
from prosopon.registry import Registry
from prosopon.selection.lines import keep_outside_lines
from prosopon.selection.ranking import keep_largest, kept_count
from prosopon.selection.rows import keep_largest_per_row

if TYPE_CHECKING:
    from torch import Tensor

Rule = Callable[[Mapping[str, "Tensor"], float, "Mapping[str, Tensor] | None"], dict[str, "Tensor"]]


@dataclass(frozen=True)
class Pattern:
    """One way to select.

    Attributes:
        name: Registry name.
        summary: One line of help.
        rule: The pure function; for units it sees one row of unit scores for every group.
        among: Who competes: weights within one ``"site"`` (which may then be selected on its
            own), weights of ``"all"`` sites, or ``"units"``, whole groups of rows and columns.
        fixed: The share of weights that the pattern prunes whatever is asked; None if it may
            be chosen.
        multiple: Every site's in_features must be a multiple of it.
        lines: Most rows and columns of a site that may hold pruned weights; None for any number.
    """

    name: str
    summary: str
    rule: Rule
    among: Literal["site", "all", "units"]
    fixed: float | None = None
    multiple: int = 1
    lines: int | None = None

    def share(self, sparsity: float | None, default: float | None = None) -> float:
        """Return the share of weights to prune.

        Args:
            sparsity: What was asked for; None if nothing was.
            default: What is taken then, unless the pattern fixes the share.

        Raises:
            OptionError: The share is outside (0, 1), is none, or disagrees with the pattern.
        """
        if sparsity is not None and not 0.0 < sparsity < 1.0:
            raise OptionError(f"sparsity {sparsity}: must lie between 0 and 1, both excluded")
        if self.fixed is None:
            share = default if sparsity is None else sparsity
            if share is None:
                raise OptionError(f"pattern {self.name!r} needs a sparsity between 0 and 1")
            return share
        if sparsity is not None and abs(sparsity - self.fixed) > 1e-6:
            raise OptionError(
                f"sparsity {sparsity} disagrees with pattern {self.name!r}, which prunes exactly "
                f"{self.fixed:g} of the weights; leave the sparsity out, or choose another pattern"
            )
        return self.fixed

    def check_shape(self, site: str, shape: tuple[int, ...]) -> None:
        """Raise :class:`OptionError` if a site of this [out, in] shape cannot have the pattern."""
        if shape[1] % self.multiple:
            raise OptionError(
                f"pattern {self.name!r} needs in_features divisible by {self.multiple}; site "
                f"{site!r} has {shape[1]}; leave it out with --ignore, or choose another pattern"
            )


PATTERNS: Registry[Pattern] = Registry("selection pattern")
"""Patterns by name; :func:`find_pattern` also knows every other n:m and lora:R."""


def find_pattern(name: str) -> Pattern:
    """Return the pattern of a name: a registered one, any N:M (``"1:4"``) or ``"lora:R"``.

    Raises:
        UnknownNameError: No such pattern; lists the choices.
        OptionError: An n:m without 0 < n < m, or lora:0.
    """
    numbers = re.fullmatch(r"\s*(\d+):(\d+)\s*", name)
    if numbers and name not in PATTERNS:
        return n_of_m(int(numbers[1]), int(numbers[2]))
    rank = re.fullmatch(r"\s*lora:(\d+)\s*", name, re.IGNORECASE)
    if rank and name not in PATTERNS:
        return rows_and_columns(int(rank[1]))
    return PATTERNS.get(name)


def n_of_m(n: int, m: int) -> Pattern:
    """Return the pattern that keeps n of every m consecutive weights of a row.

    2:4 is what NVIDIA's sparse tensor cores take (Mishra et al. 2021, arXiv 2104.08378).

    Raises:
        OptionError: Not 0 < n < m.
    """
    if not 0 < n < m:
        raise OptionError(f"pattern '{n}:{m}' must keep some of every {m} weights and not all")

    def rule(
        scores: Mapping[str, Tensor], sparsity: float, ties: Mapping[str, Tensor] | None
    ) -> dict[str, Tensor]:
        masks = {}
        for name, score in scores.items():
            second = None if ties is None else ties[name].reshape(-1, m)
            masks[name] = keep_largest_per_row(score.reshape(-1, m), n, second).view(score.shape)
        return masks

    summary = f"{n} of every {m} consecutive weights of a row"
    return Pattern(f"{n}:{m}", summary, rule, "site", fixed=1 - n / m, multiple=m)


def rows_and_columns(count: int) -> Pattern:
    """Return the pattern that prunes in at most ``count`` rows and columns of every site.

    A LoRA of that rank is such a mask exactly. The share is the most that is pruned: a site whose
    lines hold fewer weights loses all of theirs.

    Raises:
        OptionError: None may be touched.
    """
    if count < 1:
        raise OptionError(f"pattern 'lora:{count}' must leave at least one row or column to prune")

    def rule(
        scores: Mapping[str, Tensor], sparsity: float, ties: Mapping[str, Tensor] | None
    ) -> dict[str, Tensor]:
        masks = {}
        for name, score in scores.items():
            pruned = score.numel() - kept_count(score.numel(), sparsity)
            masks[name] = keep_outside_lines(score, pruned, count, ties[name] if ties else None)
        return masks

    summary = f"at most {count} rows and columns of a site: a LoRA of rank {count} exactly"
    return Pattern(f"lora:{count}", summary, rule, "site", lines=count)


def _row(
    scores: Mapping[str, Tensor], sparsity: float, ties: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Every output row keeps floor((1 - sparsity) in) weights, as in the paper."""
    return {
        name: keep_largest_per_row(
            score, kept_count(score.shape[1], sparsity), ties[name] if ties else None
        )
        for name, score in scores.items()
    }


def _site(
    scores: Mapping[str, Tensor], sparsity: float, ties: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Every site keeps floor((1 - sparsity) out in) weights, wherever they lie in it."""
    masks = {}
    for name, score in scores.items():
        count = kept_count(score.numel(), sparsity)
        (masks[name],) = keep_largest([score], count, [ties[name]] if ties else None)
    return masks


def _global(
    scores: Mapping[str, Tensor], sparsity: float, ties: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """All weights of all sites compete: one threshold, exactly the asked number kept."""
    count = kept_count(sum(score.numel() for score in scores.values()), sparsity)
    second = [ties[name] for name in scores] if ties else None
    return dict(zip(scores, keep_largest(list(scores.values()), count, second), strict=True))


for _pattern in (
    Pattern("row", "every output row keeps the same number of weights", _row, "site"),
    Pattern("site", "every site keeps the same share, wherever the weights lie", _site, "site"),
    Pattern("global", "all weights of all sites compete", _global, "all"),
    n_of_m(2, 4),
    n_of_m(4, 8),
    rows_and_columns(32),
    Pattern("channels", "whole MLP channels, the same share in every layer", _row, "units"),
    Pattern(
        "heads",
        "whole key-value heads with their query heads, the same share in every layer",
        _row,
        "units",
    ),
):
    PATTERNS.add(_pattern.name, _pattern)
