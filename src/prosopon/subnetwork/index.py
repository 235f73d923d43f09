"""The index of a pack: what it holds, and what every part must look like."""

from typing import Literal

from pydantic import Field, NonNegativeInt

from prosopon.subnetwork.config import FingerprintRecord, FrozenModel, SiteRecord, SubnetworkConfig


class PartRecord(FrozenModel):
    """A part of a pack."""

    sha256: str  # of its compressed bytes
    bytes: NonNegativeInt  # how many those are
    size: NonNegativeInt  # how many there are when decompressed
    encoding: Literal["packed", "gaps"]  # of its masks


class PersonaRecord(FrozenModel):
    """A persona of a pack."""

    part: str  # name of its tensor
    record: PartRecord  # what that looks like
    criterion: str  # what ranked its weights
    pruned: NonNegativeInt  # how many weights it prunes
    changed: NonNegativeInt  # on how many weights it and the shared mask do not agree
    ranked: bool  # whether it has strengths


class PackIndex(FrozenModel):
    """The contents of a pack."""

    base_model: str  # Hub id or path of the model
    fingerprint: FingerprintRecord  # which weights all the masks belong to
    # shape, and number of weights pruned by the shared mask, of every site
    sites: dict[str, SiteRecord] = Field(min_length=1)
    shared: PartRecord  # the shared mask
    # by name, in the order in which they were packed
    personas: dict[str, PersonaRecord] = Field(min_length=1)


class PersonaHead(FrozenModel):
    """What lies before the masks of a persona of a pack."""

    config: SubnetworkConfig  # the provenance
    # on how many weights of every site it and the shared mask do not agree
    changed: dict[str, NonNegativeInt]
