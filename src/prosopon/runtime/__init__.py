"""The runtime: wearing personas on a live model, with the way back always open."""

from prosopon.data.mbti import POLES, TYPES, compose
from prosopon.runtime.backends import BACKENDS
from prosopon.runtime.correction import CorrectionBackend
from prosopon.runtime.functional import FunctionalBackend
from prosopon.runtime.inplace import InplaceBackend
from prosopon.runtime.persona_model import PersonaModel
from prosopon.runtime.wear import attach, worn

__all__ = [
    "BACKENDS",
    "POLES",
    "TYPES",
    "CorrectionBackend",
    "FunctionalBackend",
    "InplaceBackend",
    "PersonaModel",
    "attach",
    "compose",
    "worn",
]
