"""Prosopon: find the persona subnetworks a pretrained language model contains, and wear them.

    from prosopon import PersonaModel, extract, load_model

    loaded = load_model("embedded")
    subnetwork = extract(loaded.model, loaded.tokenizer, target="extravert", opposite="introvert")
    persona = PersonaModel(loaded.model, loaded.tokenizer)
    with persona.persona(persona.load_persona(subnetwork)):
        ...

Everything is imported on first use, so that ``import prosopon`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prosopon.version import __version__

if TYPE_CHECKING:
    from prosopon.criteria import CRITERIA, Criterion
    from prosopon.data import Example, Message, Persona, load_contrast, load_persona
    from prosopon.description import describe
    from prosopon.errors import ProsoponError
    from prosopon.extraction import Extractor, extract
    from prosopon.models import find_sites, load_model
    from prosopon.runtime import PersonaModel
    from prosopon.statistics import Statistics, collect_statistics
    from prosopon.subnetwork import Subnetwork


_HOMES = {
    "CRITERIA": "criteria",
    "Criterion": "criteria",
    "Example": "data",
    "Extractor": "extraction",
    "Message": "data",
    "Persona": "data",
    "PersonaModel": "runtime",
    "ProsoponError": "errors",
    "Statistics": "statistics",
    "Subnetwork": "subnetwork",
    "collect_statistics": "statistics",
    "describe": "description",
    "extract": "extraction",
    "find_sites": "models",
    "load_contrast": "data",
    "load_model": "models",
    "load_persona": "data",
}

__all__ = [
    "CRITERIA",
    "Criterion",
    "Example",
    "Extractor",
    "Message",
    "Persona",
    "PersonaModel",
    "ProsoponError",
    "Statistics",
    "Subnetwork",
    "__version__",
    "collect_statistics",
    "describe",
    "extract",
    "find_sites",
    "load_contrast",
    "load_model",
    "load_persona",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'prosopon' has no attribute {name!r}")
    value = getattr(import_module(f"prosopon.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
