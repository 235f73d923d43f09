"""Where the hidden states between two layers wait: in memory, or in files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from torch import Tensor

from prosopon.errors import StatisticsError
from prosopon.files import atomic_path


class States(Protocol):
    """The inputs of a layer, batch by batch; ``batch`` is any name that can name a file."""

    def get(self, layer: int, batch: str) -> Tensor:
        """Return the input of ``layer``, ``[rows, length, size]``."""

    def put(self, layer: int, batch: str, hidden: Tensor) -> None:
        """Keep the input of ``layer``."""

    def drop(self, layer: int) -> None:
        """Forget the inputs of ``layer``, where there are any."""


class MemoryStates:
    """States in memory. A batch's newest input takes the place of the one before."""

    def __init__(self) -> None:
        self._states: dict[str, Tensor] = {}

    def get(self, layer: int, batch: str) -> Tensor:
        """Return the newest input."""
        return self._states[batch]

    def put(self, layer: int, batch: str, hidden: Tensor) -> None:
        """Keep an input on the CPU."""
        self._states[batch] = hidden.cpu()

    def drop(self, layer: int) -> None:
        """Do nothing: there is one input a batch."""


class FolderStates:
    """States in files, one folder a layer, one safetensors file a batch.

    Args:
        folder: Made when it is first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, layer: int, batch: str) -> Tensor:
        """Read one input.

        Raises:
            StatisticsError: The file is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self._path(layer, batch)
        try:
            return load_file(path)["hidden"].clone()
        except (SafetensorError, OSError, KeyError) as error:
            raise StatisticsError(
                f"{path}: hidden states are missing or damaged ({type(error).__name__}), so the "
                "run cannot go on from here; delete the work folder"
            ) from None

    def put(self, layer: int, batch: str, hidden: Tensor) -> None:
        """Write one input, whole or not at all."""
        from safetensors.torch import save_file

        with atomic_path(self._path(layer, batch)) as temporary:
            save_file({"hidden": hidden.cpu().contiguous()}, temporary)

    def drop(self, layer: int) -> None:
        """Delete the files of a layer."""
        shutil.rmtree(self.folder / f"{layer:05}", ignore_errors=True)

    def _path(self, layer: int, batch: str) -> Path:
        return self.folder / f"{layer:05}" / f"{batch}.safetensors"
