"""Models larger than memory: read from disk, calibrated and masked one layer at a time."""

from prosopon.layerwise.checkpoint import Checkpoint
from prosopon.layerwise.collect import collect_sequential
from prosopon.layerwise.extraction import SequentialSettings, check_sequential, extract_sequential
from prosopon.layerwise.skeleton import decoder_stack, open_skeleton

__all__ = [
    "Checkpoint",
    "SequentialSettings",
    "check_sequential",
    "collect_sequential",
    "decoder_stack",
    "extract_sequential",
    "open_skeleton",
]
