"""The runtime: wearing personas on a live model, with the way back always open."""

from prosopon.runtime.backends import BACKENDS, Backend
from prosopon.runtime.functional import FunctionalBackend
from prosopon.runtime.gates import Gating
from prosopon.runtime.inplace import InplaceBackend
from prosopon.runtime.looks import BASE, BlendMode, Look, LookPart, Wearable
from prosopon.runtime.mbti import POLES, TYPES, compose
from prosopon.runtime.persona_model import PersonaModel
from prosopon.runtime.wear import attach, worn

__all__ = [
    "BACKENDS",
    "BASE",
    "POLES",
    "TYPES",
    "Backend",
    "BlendMode",
    "FunctionalBackend",
    "Gating",
    "InplaceBackend",
    "Look",
    "LookPart",
    "PersonaModel",
    "Wearable",
    "attach",
    "compose",
    "worn",
]
