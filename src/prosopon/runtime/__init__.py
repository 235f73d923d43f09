"""The runtime: wearing personas on a live model, with the way back always open."""

from prosopon.runtime.backends import BACKENDS, Backend
from prosopon.runtime.functional import FunctionalBackend
from prosopon.runtime.generation import continue_texts, generate_answers
from prosopon.runtime.inplace import InplaceBackend
from prosopon.runtime.persona_model import PersonaModel

__all__ = [
    "BACKENDS",
    "Backend",
    "FunctionalBackend",
    "InplaceBackend",
    "PersonaModel",
    "continue_texts",
    "generate_answers",
]
