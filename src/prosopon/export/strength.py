"""The mask of a weaker persona: the prefix of the ranking that a strength picks."""

from __future__ import annotations

from torch import Tensor

from prosopon.errors import OptionError
from prosopon.subnetwork import Subnetwork

_LEVELS = 256  # a level is one byte


def at_strength(subnetwork: Subnetwork, strength: float) -> Subnetwork:
    """Return the subnetwork that a strength means.

    A pruned weight of level l stays pruned if ``strength > l / 256`` (the ranking of
    :class:`~prosopon.subnetwork.Subnetwork`), so a weaker mask is part of a stronger one.

    Args:
        subnetwork: The whole mask, with its ranking unless ``strength`` is 1.
        strength: Above 0, at most 1, which is the whole mask.

    Raises:
        OptionError: ``strength`` is outside (0, 1], or below 1 without a ranking.
    """
    if not 0.0 < strength <= 1.0:
        raise OptionError(f"strength {strength:g}: must be above 0 and at most 1")
    if strength == 1.0:
        return subnetwork
    if subnetwork.levels is None:
        raise OptionError(
            f"strength {strength:g}: subnetwork {subnetwork.config.persona!r} carries no ranking "
            "of its pruned weights; export it at strength 1, or extract it again"
        )
    keep = {
        name: _weaker(mask, subnetwork.levels[name], strength)
        for name, mask in subnetwork.keep.items()
    }
    return Subnetwork(keep, subnetwork.config.model_copy(update={"sites": {}, "checksum": ""}))


def _weaker(keep: Tensor, levels: Tensor, strength: float) -> Tensor:
    """Keep, besides what the bool [out, in] mask keeps, the weights of the higher levels."""
    weaker = keep.clone()
    weaker[~keep] = levels.double() / _LEVELS >= strength
    return weaker
