"""Turning scores into keep-masks: the checks, then the pattern."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from prosopon.errors import OptionError
from prosopon.models.groups import Group
from prosopon.selection.patterns import Pattern, find_pattern
from prosopon.selection.units import select_units

if TYPE_CHECKING:
    from torch import Tensor


class Scored(NamedTuple):
    """The scores of one site.

    Attributes:
        site: Its name.
        scores: Floating point scores [out, in]; the highest are kept.
        ties: A second score of the same shape, for weights with equal scores; None if there is
            none.
    """

    site: str
    scores: Tensor
    ties: Tensor | None = None


def select(
    scored: Iterable[Scored],
    sparsity: float | None = None,
    *,
    pattern: str = "row",
    groups: Sequence[Group] = (),
) -> dict[str, Tensor]:
    """Keep the weights with the highest scores.

    Equal scores are ordered by ties (higher is kept), then by position: site in the order given,
    row, column (lower is kept). The result depends on nothing else, so it is the same on every
    run and device. Infinite scores are allowed and mean first or last.

    Scores are let go as soon as the pattern allows: after their own site, unless the pattern is
    ``global``. Given a generator that computes them, only one site's scores are ever in memory.

    The patterns ``channels`` and ``heads`` keep or prune whole units: a unit's score is the sum
    of the scores of all weights it owns (float64), its tie the sum of their ties. Sites of no
    group are kept whole.

    Args:
        scored: The scores of every site, each site once; all with ties or none.
        sparsity: Share of weights to prune, in (0, 1). Of n weights (or units) that compete,
            floor((1 - sparsity) n) are kept, which may be none of a short row. May be left out
            for n:m, which fixes it.
        pattern: Which weights compete; see :func:`~prosopon.selection.find_pattern`.
        groups: The units that compete, for ``channels`` and ``heads``; see
            :func:`prosopon.models.find_groups`.

    Returns:
        Bool [out, in] for every site, True where the weight is kept, on the scores' device.

    Raises:
        OptionError: The sparsity is outside (0, 1) or disagrees with the pattern, there are no
            scores, a score or tie is NaN or no floating point matrix, ties do not match their
            scores, ``groups`` do not match the sites, in_features is no multiple of n:m's m, or
            no unit of a group would be kept.
        UnknownNameError: No such pattern.
    """
    chosen = find_pattern(pattern)
    share = chosen.share(sparsity)
    checked = (_check_site(chosen, Scored(*site)) for site in scored)
    if chosen.among == "units":
        masks = select_units(chosen, checked, share, groups)
    elif chosen.among == "site":
        masks = {}
        for site in checked:
            masks |= _together(chosen, [site], share)
    else:
        masks = _together(chosen, list(checked), share)
    if not masks:
        raise OptionError("scores of no site were given: there is nothing to select from")
    return masks


def _together(pattern: Pattern, sites: list[Scored], share: float) -> dict[str, Tensor]:
    """Select among some sites."""
    if not sites:
        return {}
    ties = {item.site: item.ties for item in sites if item.ties is not None}
    if ties and len(ties) < len(sites):
        raise OptionError("ties and scores are not of the same sites: some sites have no ties")
    return pattern.rule({item.site: item.scores for item in sites}, share, ties or None)


def _check_site(pattern: Pattern, scored: Scored) -> Scored:
    """Return one site's scores, or refuse what has no order or does not suit the pattern."""
    _check("scores", scored.site, scored.scores)
    if scored.ties is not None:
        _check("ties", scored.site, scored.ties)
        if scored.ties.shape != scored.scores.shape:
            raise OptionError(
                f"ties of site {scored.site!r} are {list(scored.ties.shape)}, its scores "
                f"{list(scored.scores.shape)}"
            )
    pattern.check_shape(scored.site, tuple(scored.scores.shape))
    return scored


def _check(what: str, site: str, score: Tensor) -> None:
    if score.ndim != 2 or not score.numel() or not score.is_floating_point():
        raise OptionError(
            f"{what} of site {site!r} must be a floating point matrix [out, in], not "
            f"{str(score.dtype).removeprefix('torch.')} {list(score.shape)}"
        )
    # The smallest of numbers with a NaN among them is NaN; counting takes ten times as long.
    if torch.isnan(score.detach().min()):
        bad = int(torch.isnan(score).sum())
        raise OptionError(f"{what} of site {site!r}: {bad} of {score.numel()} are NaN")
