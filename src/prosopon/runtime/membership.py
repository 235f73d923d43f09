"""Checking that a subnetwork belongs to a model before a single weight is touched."""

from collections.abc import Sequence
from pathlib import PurePath

from torch import nn

from prosopon.errors import SubnetworkError
from prosopon.models import Site, fingerprint
from prosopon.subnetwork import Subnetwork, SubnetworkConfig

EXPORTED = "prosopon_persona"
"""The field of a model's configuration that names the persona that an export wrote into it."""

QUANTISED_FROM = "prosopon_quantised_from"
"""The field of a quantised model's configuration that names the base that it is a copy of."""


def check_belongs(
    subnetwork: Subnetwork,
    sites: Sequence[Site],
    model: nn.Module | None = None,
    quantised_from: str | None = None,
) -> None:
    """Check sites, shapes and fingerprints, and that no other persona is in the weights.

    Sites of the model, on the base, that the subnetwork does not name are left out of the
    comparison. An exported checkpoint has the fingerprint of its base model, so that its
    configuration has to tell them apart. Rounding takes the signs of small weights away, so of
    a quantised model shapes are compared, and what it was quantised from: as ``quantised_from``
    says, else the field of that name in its configuration, else where it was loaded from.

    Raises:
        SubnetworkError: It belongs to another model; says what differs and what to do.
    """
    config = subnetwork.config
    model_config = getattr(model, "config", None)
    exported = getattr(model_config, EXPORTED, None)
    name = PurePath(getattr(model_config, "_name_or_path", None) or "").name
    if exported is not None and name != PurePath(config.base_model).name:
        raise _refusal(
            config,
            f"it is a checkpoint into which persona {exported!r} was exported, and would wear both",
            "or export the union of the two",
        )
    by_name = {site.name: site for site in sites}
    if missing := [name for name in subnetwork.sites if name not in by_name]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise _refusal(
            config,
            f"it has no site {', '.join(map(repr, missing[:3]))}{more}",
            "or attach with targets and ignore that leave those sites in",
        )
    for name, mask in subnetwork.keep.items():
        if tuple(mask.shape) != by_name[name].shape:
            raise _refusal(
                config, f"its site {name!r} is {list(by_name[name].shape)}, not {list(mask.shape)}"
            )
    named = [by_name[name] for name in subnetwork.sites]
    if any(site.quantised for site in named):
        _check_base(config, model_config, quantised_from)
        return
    ours = fingerprint(named)
    if ours.architecture != config.fingerprint.architecture:
        raise _refusal(config, "the architecture fingerprint differs")
    if ours.weights != config.fingerprint.weights:
        raise _refusal(
            config,
            "the architecture is the same, but the weights fingerprint differs (another "
            "revision, or weights that were trained or merged since)",
            "or extract the persona again from this model",
        )


def _check_base(config: SubnetworkConfig, model: object, quantised_from: str | None) -> None:
    """Refuse a quantised model of which nothing says that it is a copy of the mask's base."""
    base = quantised_from or getattr(model, QUANTISED_FROM, None)
    base = base or getattr(model, "_name_or_path", None)
    if base != config.base_model:
        raise _refusal(
            config,
            f"its weights are quantised, so the fingerprint says nothing, and it is of {base!r}",
            f"or, if it was quantised from that, say so: PersonaModel(model, "
            f"quantised_from={config.base_model!r}), or {QUANTISED_FROM!r} in its config.json",
        )


def _refusal(config: SubnetworkConfig, reason: str, also: str = "") -> SubnetworkError:
    """Say that a subnetwork is not this model's."""
    revision = f" at revision {config.revision!r}" if config.revision else ""
    advice = f"load {config.base_model!r}{revision}" + (f", {also}" if also else "")
    return SubnetworkError(
        f"subnetwork {config.persona!r} does not belong to this model: {reason}; {advice}"
    )
