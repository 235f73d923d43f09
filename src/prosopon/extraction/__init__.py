"""Extraction: from a model and two personas to a subnetwork."""

from prosopon.extraction.extractor import Extractor, extract, resolve_contrast
from prosopon.extraction.general import sample_general
from prosopon.extraction.pairs import pair_examples
from prosopon.extraction.rounds import Report, Rounds, lowest, prune_in_rounds, temporary_pruning
from prosopon.extraction.sequential import (
    SequentialSettings,
    check_sequential,
    extract_sequential,
)

__all__ = [
    "Extractor",
    "Report",
    "Rounds",
    "SequentialSettings",
    "check_sequential",
    "extract",
    "extract_sequential",
    "lowest",
    "pair_examples",
    "prune_in_rounds",
    "resolve_contrast",
    "sample_general",
    "temporary_pruning",
]
