"""Loading a model for a command."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from prosopon.cli.console import err, note, volume

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
    """Load a model; the libraries' own bars are for downloads on a terminal.

    Raises:
        ProsoponError: See :func:`prosopon.models.load_model`.
    """
    from transformers.utils import logging

    from prosopon.models import EMBEDDED, load_model

    local = name == EMBEDDED or Path(name).expanduser().is_dir()
    if local or volume.quiet or not err.is_terminal:
        logging.disable_progress_bar()
    if not local:
        use_cache_offline()
    return load_model(name, device=device, dtype=dtype, device_map=device_map, revision=revision)


def use_cache_offline(seconds: float = 5.0) -> None:
    """Read what was downloaded before where the Hub cannot be reached.

    Its library would try six times, half a minute in all, and say so each time.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or getproxies():  # a proxy may reach what a socket does not
        return
    address = urlsplit(constants.ENDPOINT)
    try:
        port = address.port or (80 if address.scheme == "http" else 443)
        socket.create_connection((address.hostname or "", port), seconds).close()
    except OSError:
        constants.HF_HUB_OFFLINE = True
        note("the Hugging Face Hub cannot be reached: only what was downloaded before is used")
