"""Subnetworks: keep-masks with their provenance, their algebra, and the files they ship in."""

from prosopon.subnetwork.algebra import complement, difference, intersection, majority, union
from prosopon.subnetwork.card import model_card
from prosopon.subnetwork.compensation import COMPENSATION_NAME, Compensation
from prosopon.subnetwork.config import (
    STEPS,
    CalibrationRecord,
    FingerprintRecord,
    SubnetworkConfig,
    portable_name,
    site_records,
)
from prosopon.subnetwork.encodings import choose_encoding
from prosopon.subnetwork.evaluation import (
    EVALUATION_NAME,
    Evaluation,
    MeasureRecord,
    read_evaluation,
    write_evaluation,
)
from prosopon.subnetwork.format import pack_rows, unpack_rows
from prosopon.subnetwork.gaps import decode_gaps, encode_gaps
from prosopon.subnetwork.pack import PACK_NAME, Pack, unpack, write_pack
from prosopon.subnetwork.storage import CONFIG_NAME, MASKS_NAME
from prosopon.subnetwork.subnetwork import Subnetwork

__all__ = [
    "COMPENSATION_NAME",
    "CONFIG_NAME",
    "EVALUATION_NAME",
    "MASKS_NAME",
    "PACK_NAME",
    "STEPS",
    "CalibrationRecord",
    "Compensation",
    "Evaluation",
    "FingerprintRecord",
    "MeasureRecord",
    "Pack",
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
    "read_evaluation",
    "site_records",
    "union",
    "unpack",
    "unpack_rows",
    "write_evaluation",
    "write_pack",
]
