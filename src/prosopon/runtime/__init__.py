"""The runtime: wearing personas on a live model, with the way back always open."""

from prosopon.runtime.backends import BACKENDS, Backend
from prosopon.runtime.compensation import Compensated
from prosopon.runtime.functional import FunctionalBackend
from prosopon.runtime.inplace import InplaceBackend
from prosopon.runtime.persona_model import PersonaModel

__all__ = [
    "BACKENDS",
    "Backend",
    "Compensated",
    "FunctionalBackend",
    "InplaceBackend",
    "PersonaModel",
]
