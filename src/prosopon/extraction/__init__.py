"""Extraction: from a model and two personas to a subnetwork."""

from prosopon.extraction.extractor import Extractor, extract, resolve_contrast
from prosopon.extraction.general import sample_general
from prosopon.extraction.light import temporary_pruning
from prosopon.extraction.light.mask import Report
from prosopon.extraction.pairs import pair_examples

__all__ = [
    "Extractor",
    "Report",
    "extract",
    "pair_examples",
    "resolve_contrast",
    "sample_general",
    "temporary_pruning",
]
