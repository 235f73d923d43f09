"""Leaving sites out by where they lie: ``--layers 2-5,7`` and ``--only mlp``."""

import re
from collections.abc import Sequence

from prosopon.errors import OptionError, SiteError
from prosopon.models.sites import Site

ROLES = ("attention", "mlp")
"""What ``only`` may ask for."""

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def parse_layers(text: str) -> list[int]:
    """Return the decoder layers that a text such as ``2-5,7`` names, ascending; the first is 0."""
    layers: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise OptionError(f"layers {text!r}: write them as 2-5,7 (the first layer is 0)")
        layers.update(range(first, last + 1))
    return sorted(layers)


def restrict_sites(
    sites: Sequence[Site], *, layers: str | None = None, only: str | None = None
) -> list[Site]:
    """Return the sites in some layers, or of one part of the layers, in their order.

    Args:
        sites: Sites of one model.
        layers: See :func:`parse_layers`; sites outside the layers are left out. None: all.
        only: ``"attention"`` or ``"mlp"``. None: both, and whatever is neither.

    Raises:
        OptionError: ``layers`` cannot be read, or ``only`` is something else.
        SiteError: A layer has no site, or no site is left; says what there is.
    """
    left = list(sites)
    if layers is not None:
        wanted = parse_layers(layers)
        numbers = sorted({site.layer for site in left if site.layer is not None})
        if missing := [layer for layer in wanted if layer not in numbers]:
            there = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
            raise SiteError(
                f"layers {layers!r}: there are no sites in layer {missing[0]}; the layers with "
                f"sites are {there}"
            )
        left = [site for site in left if site.layer in wanted]
    if only is not None:
        if only not in ROLES:
            raise OptionError(f"only {only!r}: choose one of {', '.join(ROLES)}")
        left = [site for site in left if site.role == only]
        if not left:
            roles = ", ".join(sorted({site.role for site in sites}))
            raise SiteError(f"only {only!r}: no such site is left; the model's are: {roles}")
    return left
