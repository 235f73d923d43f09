"""Extraction: from a model and two personas to a subnetwork.

- ``settings``, ``request``: what is asked, checked before anything is read.
- ``collector``: what is read, once for all extractions.
- ``scored``, ``solved``, ``light``: one maker of masks for each kind of criterion.
- ``extractor``, ``provenance``: the way from a request to a subnetwork.
"""

from prosopon.extraction.collector import Collector
from prosopon.extraction.extractor import Extractor, extract
from prosopon.extraction.light import temporary_pruning
from prosopon.extraction.request import resolve_contrast
from prosopon.extraction.settings import ExtractionSettings

__all__ = [
    "Collector",
    "ExtractionSettings",
    "Extractor",
    "extract",
    "resolve_contrast",
    "temporary_pruning",
]
