"""How many tokens a model can read at once."""

from typing import Any

_NAMES = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")


def context_length(model: Any) -> int | None:
    """Return the most tokens that a model reads, or None where its configuration sets no limit.

    Args:
        model: Anything with a ``config``; a model for text and images is asked for its text part.
    """
    config: Any = getattr(model, "config", None)
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    for name in _NAMES:
        length = getattr(config, name, None)
        if isinstance(length, int) and length > 0:
            return length
    return None
