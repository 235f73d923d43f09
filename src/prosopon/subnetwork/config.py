"""What a subnetwork says about itself: where it comes from and what its masks look like."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION: Final = 2
"""Version of the folder format that this code writes; it reads every earlier one."""


STEPS: Final = 256
"""How many strengths of a ranked mask differ: its levels are 0 to 255."""


class FrozenModel(BaseModel):
    """A frozen record; a field it does not know is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FingerprintRecord(FrozenModel):
    """Which model the masks belong to; see :class:`prosopon.models.Fingerprint`."""

    architecture: str  # SHA-256 of the sites' names and shapes
    weights: str  # SHA-256 of the sites' sampled sign bits


class SiteRecord(FrozenModel):
    """What the mask of one site looks like; checked against the mask on loading."""

    shape: tuple[PositiveInt, PositiveInt]  # (out, in)
    pruned: NonNegativeInt  # how many weights it prunes

    @property
    def total(self) -> int:
        """How many weights the site has."""
        return self.shape[0] * self.shape[1]


class CalibrationRecord(FrozenModel):
    """What the masks were found on."""

    target_hash: str  # content hash of the target's examples
    opposite_hash: str | None = None  # content hash of the opposite's; None without an opposite
    target_count: NonNegativeInt  # examples of the target
    opposite_count: NonNegativeInt = 0  # examples of the opposite
    general_count: NonNegativeInt = 0  # general texts
    # what they were: kind, temperature, the beginnings of three; None where none were read, and in
    # masks of earlier versions
    general: dict[str, Any] | None = None
    scope: str = "response"  # which tokens were read: ``response`` or ``all``
    # short hashes of the examples' prompts, sorted, so that nobody is asked what the mask was found
    # on; None in masks of earlier versions
    prompt_hashes: tuple[str, ...] | None = None
    # how the target's examples came about, where a model wrote them from a description
    origin: dict[str, Any] | None = None
    # the day that the chat template was told, where it writes the date
    rendering_date: str | None = None


class SubnetworkConfig(FrozenModel):
    """The provenance of a subnetwork: the contents of ``subnetwork_config.json``.

    Raises:
        pydantic.ValidationError: A field is missing, unknown or of the wrong type.
    """

    format_version: Literal[1, 2] = FORMAT_VERSION  # version of the folder format
    # how the masks are stored: ``packed`` or ``gaps``; chosen on saving
    encoding: Literal["packed", "gaps"] = "packed"
    # whether the pruned weights are ranked, so that the subnetwork has strengths
    ranked: bool = False
    persona: str  # name of the persona
    opposite: str | None = None  # name of what it was told apart from
    base_model: str  # Hub id or path of the model
    revision: str | None = None  # its revision on the Hub
    fingerprint: FingerprintRecord  # which weights the masks belong to
    criterion: str  # what ranked the weights
    # every option of the criterion; must be JSON, tuples become lists
    options: dict[str, Any] = Field(default_factory=dict)
    pattern: str  # selection pattern
    # share of weights that was asked to be pruned; None if none was
    sparsity: float | None = Field(default=None, allow_inf_nan=False)
    # shape and number of pruned weights of every site. May be left out when a
    # :class:`~prosopon.subnetwork.Subnetwork` is made, which then fills it in
    sites: dict[str, SiteRecord] = Field(default_factory=dict)
    calibration: CalibrationRecord  # what the masks were found on
    seed: int = 0  # seed of whatever was drawn
    versions: dict[str, str] = Field(default_factory=dict)  # versions of the software
    license: str = ""  # licence of the masks
    checksum: str = ""  # SHA-256 of the file of masks; filled in on saving
    created: str = ""  # time in ISO 8601

    @field_validator("options", mode="after")
    @classmethod
    def _as_json(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Turn the options into what reading the file back gives, or refuse them now."""
        try:
            text = json.dumps(options, allow_nan=False, ensure_ascii=False)
            normal: dict[str, Any] = json.loads(text.encode())  # encoding refuses lone surrogates
        except (TypeError, RecursionError) as error:
            raise ValueError(f"options must be JSON: {error}") from None
        return normal

    @model_validator(mode="after")
    def _as_the_first_version(self) -> SubnetworkConfig:
        """Refuse in version 1 what came with version 2."""
        if self.format_version == 1 and (self.encoding != "packed" or self.ranked):
            raise ValueError("format version 1 has packed masks without a ranking")
        return self


_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def is_hub_id(name: str) -> bool:
    """Tell whether a name reads like an id on the Hub: ``name/thing``."""
    return _HUB_ID.fullmatch(name) is not None


def portable_name(model: str) -> str:
    """Return what to call a model elsewhere: of a path its last part, anything else as it is.

    A folder on this machine says nothing to others, and may say who works on it.
    """
    path = Path(model)
    is_path = path.is_absolute() or path.exists() or len(path.parts) > 2 or model[:1] in (".", "~")
    return (path.name or path.resolve().name) if is_path else model


def first_error(error: ValidationError) -> str:
    """Return the first thing that is wrong with a record, as one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))!r}: {first['msg']}"


def site_records(keep: Mapping[str, Tensor]) -> dict[str, SiteRecord]:
    """Describe the bool [out, in] masks of every site."""
    return {
        name: SiteRecord(shape=(mask.shape[0], mask.shape[1]), pruned=count_pruned(mask))
        for name, mask in keep.items()
    }


def count_pruned(mask: Tensor) -> int:
    """Return how many weights a keep-mask prunes."""
    # numpy counts several times faster than torch, and this is much of the cost of loading.
    return mask.numel() - int(np.count_nonzero(mask.cpu().numpy()))
