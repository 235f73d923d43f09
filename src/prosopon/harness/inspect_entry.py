"""What inspect_ai imports to learn of the provider ``prosopon``; named in pyproject.toml."""

from __future__ import annotations

from typing import Any

from inspect_ai.model import modelapi


@modelapi(name="prosopon")  # type: ignore[untyped-decorator]
def prosopon() -> Any:
    """Return the provider; the model libraries load when a model is asked for."""
    from prosopon.harness.inspect_model import PersonaAPI

    return PersonaAPI
