"""A small language model that ships with the package, so that every command works offline.

It is a test vehicle in ordinary Hugging Face files (``config.json``, ``model.safetensors``,
``tokenizer.json``); no claim about large models rests on it.
"""

from pathlib import Path

from prosopon.errors import ModelError

__all__ = ["path"]


def path() -> Path:
    """Return the folder of the embedded model.

    Raises:
        ModelError: This installation has no weights in it.
    """
    folder = Path(__file__).parent
    if not (folder / "model.safetensors").is_file():
        raise ModelError(
            f"the embedded model is not in this installation ({folder} has no "
            "model.safetensors); reinstall prosopon, or name a folder or a Hub model"
        )
    return folder
