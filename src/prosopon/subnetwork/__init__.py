"""Subnetworks: keep-masks with their provenance, their algebra, and the files they ship in."""

from prosopon.subnetwork.algebra import complement, difference, intersection, majority, union
from prosopon.subnetwork.card import model_card
from prosopon.subnetwork.compensation import COMPENSATION_NAME, Compensation
from prosopon.subnetwork.config import (
    FORMAT_VERSION,
    STEPS,
    CalibrationRecord,
    FingerprintRecord,
    SiteRecord,
    SubnetworkConfig,
    portable_name,
    site_records,
)
from prosopon.subnetwork.encodings import ENCODINGS, Encoding, choose_encoding
from prosopon.subnetwork.format import pack_rows, unpack_rows
from prosopon.subnetwork.gaps import decode_gaps, encode_gaps
from prosopon.subnetwork.index import PackIndex, PersonaRecord
from prosopon.subnetwork.pack import PACK_NAME, PACK_VERSION, Pack, unpack, write_pack
from prosopon.subnetwork.storage import CONFIG_NAME, MASKS_NAME
from prosopon.subnetwork.subnetwork import Subnetwork

__all__ = [
    "COMPENSATION_NAME",
    "CONFIG_NAME",
    "ENCODINGS",
    "FORMAT_VERSION",
    "MASKS_NAME",
    "PACK_NAME",
    "PACK_VERSION",
    "STEPS",
    "CalibrationRecord",
    "Compensation",
    "Encoding",
    "FingerprintRecord",
    "Pack",
    "PackIndex",
    "PersonaRecord",
    "SiteRecord",
    "Subnetwork",
    "SubnetworkConfig",
    "choose_encoding",
    "complement",
    "decode_gaps",
    "difference",
    "encode_gaps",
    "intersection",
    "majority",
    "model_card",
    "pack_rows",
    "portable_name",
    "site_records",
    "union",
    "unpack",
    "unpack_rows",
    "write_pack",
]
