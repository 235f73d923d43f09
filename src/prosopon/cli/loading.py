"""Loading a model for a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prosopon.models import LoadedModel


def load(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    device_map: str | None = None,
    revision: str | None = None,
) -> LoadedModel:
    """Load a model; without the library's own progress bar where it takes no time.

    Raises:
        ProsoponError: See :func:`prosopon.models.load_model`.
    """
    from transformers.utils import logging

    from prosopon.models import EMBEDDED, load_model

    if name == EMBEDDED:
        logging.disable_progress_bar()
    return load_model(name, device=device, dtype=dtype, device_map=device_map, revision=revision)
