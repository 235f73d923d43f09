"""Where a subnetwork came from: everything needed to make it again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import Tensor

from prosopon.criteria import Criterion
from prosopon.data import Persona
from prosopon.models import Fingerprint
from prosopon.subnetwork import SubnetworkConfig


@dataclass(frozen=True)
class Calibration:
    """What a mask was calibrated on."""

    target: Persona
    opposite: Persona | None
    general_count: int
    scope: str


def describe(
    keep: Mapping[str, Tensor],
    calibration: Calibration,
    criterion: Criterion,
    options: Mapping[str, Any],
    pattern: str,
    sparsity: float,
    seed: int,
    *,
    model: str,
    revision: str | None,
    fingerprint: Fingerprint,
) -> SubnetworkConfig:
    """Return the provenance that is written beside a mask."""
    target, opposite = calibration.target, calibration.opposite
    return SubnetworkConfig.model_validate(
        {
            "persona": target.name,
            "opposite": opposite.name if opposite else None,
            "base_model": model,
            "revision": revision,
            "fingerprint": {
                "architecture": fingerprint.architecture,
                "weights": fingerprint.weights,
            },
            "criterion": criterion.name,
            "options": dict(options),
            "pattern": pattern,
            "sparsity": sparsity,
            "sites": {
                name: {"shape": list(mask.shape), "pruned": int((~mask).sum())}
                for name, mask in keep.items()
            },
            "calibration": {
                "target_hash": target.content_hash(),
                "opposite_hash": opposite.content_hash() if opposite else None,
                "target_count": len(target),
                "opposite_count": len(opposite) if opposite else 0,
                "general_count": calibration.general_count,
                "scope": calibration.scope,
            },
            "seed": seed,
            "versions": _versions(),
            "license": "as the base model's weights",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("prosopon", "torch", "transformers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
