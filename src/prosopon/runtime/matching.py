"""Checking that a subnetwork belongs to a model before a single weight is touched."""

from __future__ import annotations

from collections.abc import Sequence

from prosopon.errors import SubnetworkError
from prosopon.models import Site, fingerprint
from prosopon.subnetwork import Subnetwork, SubnetworkConfig


def check_belongs(subnetwork: Subnetwork, sites: Sequence[Site]) -> None:
    """Check sites, shapes and fingerprints.

    Sites of the model that the subnetwork does not name are left out of the comparison.

    Raises:
        SubnetworkError: It belongs to another model; says what differs and what to do.
    """
    config = subnetwork.config
    known = {site.name: site for site in sites}
    if missing := [name for name in subnetwork.sites if name not in known]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise _refusal(
            config,
            f"it has no site {', '.join(map(repr, missing[:3]))}{more}",
            "or attach with targets and ignore that leave those sites in",
        )
    for name, mask in subnetwork.keep.items():
        if tuple(mask.shape) != known[name].shape:
            raise _refusal(
                config,
                f"its site {name!r} is {list(known[name].shape)}, not {list(mask.shape)}",
            )
    found = fingerprint([known[name] for name in subnetwork.sites])
    if found.architecture != config.fingerprint.architecture:
        raise _refusal(config, "the architecture fingerprint differs")
    if found.weights != config.fingerprint.weights:
        raise _refusal(
            config,
            "the architecture is the same, but the weights fingerprint differs (another "
            "revision, or weights that were trained or merged since)",
            "or extract the persona again from this model",
        )


def _refusal(config: SubnetworkConfig, reason: str, also: str = "") -> SubnetworkError:
    """Say that a subnetwork is not this model's."""
    revision = f" at revision {config.revision!r}" if config.revision else ""
    advice = f"load {config.base_model!r}{revision}" + (f", {also}" if also else "")
    return SubnetworkError(
        f"subnetwork {config.persona!r} does not belong to this model: {reason}; {advice}"
    )
