"""Light masks: a few weights in a thousand, found by gradients and priced by curvature."""

from prosopon.extraction.light.auto import Choice, Trial, choose
from prosopon.extraction.light.candidates import find_candidates, highest
from prosopon.extraction.light.mask import LightMaker, LightMask, gather
from prosopon.extraction.light.path import LightPath, Ranking
from prosopon.extraction.light.pruning import Positions, temporary_pruning
from prosopon.extraction.light.validation import Free, Quick, Validation

__all__ = [
    "Choice",
    "Free",
    "LightMaker",
    "LightMask",
    "LightPath",
    "Positions",
    "Quick",
    "Ranking",
    "Trial",
    "Validation",
    "choose",
    "find_candidates",
    "gather",
    "highest",
    "temporary_pruning",
]
