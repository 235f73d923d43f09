"""Loading a model for a command."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from prosopon.cli.console import err, note, volume
from prosopon.cli.options import ModelPlace

if TYPE_CHECKING:
    from prosopon.models import LoadedModel


def load(name: str, place: ModelPlace) -> "LoadedModel":
    """Load a model; the libraries' own bars are for downloads on a terminal."""
    from transformers.utils import logging

    from prosopon.models import EMBEDDED, SMOLLM2, load_model

    local = name in (EMBEDDED, SMOLLM2) or Path(name).expanduser().exists()
    if local or volume.quiet or not err.is_terminal:
        logging.disable_progress_bar()
    return load_model(name, **asdict(place), say=note)
