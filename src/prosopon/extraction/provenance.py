"""Where a subnetwork came from: everything needed to make it again."""

import dataclasses
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from prosopon.data.splits import prompt_hashes
from prosopon.extraction.request import Request
from prosopon.extraction.settings import ExtractionSettings
from prosopon.models import Fingerprint
from prosopon.subnetwork import SubnetworkConfig

if TYPE_CHECKING:
    from torch import Tensor


def provenance(
    keep: "Mapping[str, Tensor]",
    request: Request,
    settings: ExtractionSettings,
    fingerprint: Fingerprint,
    *,
    general_count: int = 0,
    general: Mapping[str, Any] | None = None,
    rendering_date: str | None = None,
    notes: Mapping[str, Any] | None = None,
) -> SubnetworkConfig:
    """Return the provenance that is written beside a mask.

    Args:
        keep: Keep-mask of every site.
        request: What was asked; its sparsity is a number.
        settings: How the model was read; with its name.
        fingerprint: Of the model's sites.
        general_count: How many general texts were read.
        general: What they were.
        rendering_date: The day that the chat template was told, if it writes one.
        notes: What is recorded beside the criterion's options.
    """
    target, opposite = request.target, request.opposite
    return SubnetworkConfig.model_validate(
        {
            "persona": target.name,
            "opposite": opposite.name if opposite else None,
            "base_model": settings.name,
            "revision": settings.revision,
            "fingerprint": dataclasses.asdict(fingerprint),
            "criterion": request.criterion.name,
            "options": dataclasses.asdict(request.options) | dict(notes or {}),
            "pattern": request.pattern,
            "sparsity": request.share,
            "sites": {
                name: {"shape": list(mask.shape), "pruned": int((~mask).sum())}
                for name, mask in keep.items()
            },
            "calibration": {
                "target_hash": target.content_hash(),
                "opposite_hash": opposite.content_hash() if opposite else None,
                "target_count": len(target),
                "opposite_count": len(opposite) if opposite else 0,
                "general_count": general_count,
                "general": dict(general) if general else None,
                "scope": request.scope,
                "prompt_hashes": prompt_hashes(*filter(None, (target, opposite))),
                "rendering_date": rendering_date,
                "origin": dict(target.origin) if target.origin else None,
            },
            "seed": settings.seed,
            "versions": _versions(),
            "license": "as the base model's weights",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("prosopon", "torch", "transformers"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    return versions
