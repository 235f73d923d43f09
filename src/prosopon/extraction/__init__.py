"""Extraction: from a model and two personas to a subnetwork."""

from prosopon.extraction.collector import Collector
from prosopon.extraction.extracting import extract, resolve_contrast
from prosopon.extraction.extractor import Extractor
from prosopon.extraction.light import temporary_pruning

__all__ = [
    "Collector",
    "Extractor",
    "extract",
    "resolve_contrast",
    "temporary_pruning",
]
