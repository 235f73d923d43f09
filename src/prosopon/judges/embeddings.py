"""Sentence embeddings as features of the classifier, where sentence-transformers is installed."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prosopon.errors import OptionError

Embed = Callable[[Sequence[str]], NDArray[Any]]
"""From texts to an array [texts, features] of float."""

PACKAGE = "sentence_transformers"


def sentence_embedder(encoder: str) -> Embed:
    """Return a function that embeds texts, each to length 1.

    Args:
        encoder: A folder or a Hub id.

    Raises:
        OptionError: sentence-transformers is not installed, or the encoder cannot be loaded.
    """
    if find_spec(PACKAGE) is None:
        raise OptionError(
            f"embeddings of {encoder!r} need sentence-transformers, which is not installed: "
            "pip install sentence-transformers; without it the classifier reads words and letters"
        )
    # By name, because the package is not among the project's own extras.
    try:
        model = import_module(PACKAGE).SentenceTransformer(encoder)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(f"the encoder {encoder!r} cannot be loaded: {reason}") from error

    def embed(texts: Sequence[str]) -> NDArray[Any]:
        vectors = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float64)

    return embed
