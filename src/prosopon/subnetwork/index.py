"""The index of a pack: what it holds, and what every part must look like."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt

from prosopon.subnetwork.config import FingerprintRecord, FrozenModel, SiteRecord, SubnetworkConfig


class PartRecord(FrozenModel):
    """A part of a pack.

    Attributes:
        sha256: Of its compressed bytes.
        bytes: How many those are.
        size: How many there are when decompressed.
        encoding: Of its masks.
    """

    sha256: str
    bytes: NonNegativeInt
    size: NonNegativeInt
    encoding: Literal["packed", "gaps"]


class PersonaRecord(FrozenModel):
    """A persona of a pack.

    Attributes:
        part: Name of its tensor.
        record: What that looks like.
        criterion: What ranked its weights.
        pruned: How many weights it prunes.
        changed: On how many weights it and the shared mask do not agree.
        ranked: Whether it has strengths.
    """

    part: str
    record: PartRecord
    criterion: str
    pruned: NonNegativeInt
    changed: NonNegativeInt
    ranked: bool


class PackIndex(FrozenModel):
    """The contents of a pack.

    Attributes:
        base_model: Hub id or path of the model.
        fingerprint: Which weights all the masks belong to.
        sites: Shape, and number of weights pruned by the shared mask, of every site.
        shared: The shared mask.
        personas: By name, in the order in which they were packed.
    """

    base_model: str
    fingerprint: FingerprintRecord
    sites: dict[str, SiteRecord] = Field(min_length=1)
    shared: PartRecord
    personas: dict[str, PersonaRecord] = Field(min_length=1)


class PersonaHead(FrozenModel):
    """What lies before the masks of a persona of a pack.

    Attributes:
        config: The provenance.
        changed: On how many weights of every site it and the shared mask do not agree.
    """

    config: SubnetworkConfig
    changed: dict[str, NonNegativeInt]
