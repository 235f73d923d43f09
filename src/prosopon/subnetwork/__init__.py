"""Subnetworks: keep-masks with their provenance, and the folder they are shipped in."""

from prosopon.subnetwork.compensation import COMPENSATION_NAME, Compensation
from prosopon.subnetwork.config import (
    FORMAT_VERSION,
    CalibrationRecord,
    FingerprintRecord,
    SiteRecord,
    SubnetworkConfig,
    site_records,
)
from prosopon.subnetwork.format import pack_rows, unpack_rows
from prosopon.subnetwork.storage import CONFIG_NAME, MASKS_NAME
from prosopon.subnetwork.subnetwork import Subnetwork

__all__ = [
    "COMPENSATION_NAME",
    "CONFIG_NAME",
    "FORMAT_VERSION",
    "MASKS_NAME",
    "CalibrationRecord",
    "Compensation",
    "FingerprintRecord",
    "SiteRecord",
    "Subnetwork",
    "SubnetworkConfig",
    "pack_rows",
    "site_records",
    "unpack_rows",
]
