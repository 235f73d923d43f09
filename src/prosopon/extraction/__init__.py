"""Extraction: from a model and two personas to a subnetwork."""

from prosopon.extraction.collector import Collector
from prosopon.extraction.extracting import extract, resolve_contrast
from prosopon.extraction.extractor import Extractor
from prosopon.extraction.general import sample_general
from prosopon.extraction.light import temporary_pruning
from prosopon.extraction.light.mask import Report
from prosopon.extraction.pairs import pair_examples
from prosopon.extraction.sequential import (
    SequentialSettings,
    check_sequential,
    extract_sequential,
)

__all__ = [
    "Collector",
    "Extractor",
    "Report",
    "SequentialSettings",
    "check_sequential",
    "extract",
    "extract_sequential",
    "pair_examples",
    "resolve_contrast",
    "sample_general",
    "temporary_pruning",
]
