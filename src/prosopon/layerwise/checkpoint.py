"""Reading single tensors by name from a safetensors checkpoint that may not fit into memory."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prosopon.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

_Value = TypeVar("_Value")


class Checkpoint:
    """The tensors of a folder with ``model.safetensors``, or shards and their index.

    Files are opened for each read and closed again: a mapped file would count, page by page, as
    memory of this process for as long as it is open.

    Attributes:
        folder: The checkpoint's folder.

    Raises:
        ModelError: There is no safetensors checkpoint, a shard is missing, or a file is damaged;
            or, from the methods, there is no such tensor.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file_of = self._shards() if (folder / INDEX).is_file() else self._single()

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold tensors, sorted by name."""
        return tuple(self.folder / name for name in sorted(set(self._file_of.values())))

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Return tensors by name, each in memory of its own, as they are stored."""
        # A copy is aligned as torch aligns its own memory, so kernels round as on a model that
        # was loaded as usual; a view of the file may not be.
        return self._read_all(names, lambda tensor: tensor.clone())

    def rows(self, name: str, rows: Tensor) -> Tensor:
        """Return some rows, int64 ``[n]``, of a matrix; only their pages are read."""
        return self._read_all([name], lambda tensor: tensor.index_select(0, rows))[name]

    def dtype(self) -> torch.dtype:
        """Return the dtype of the first floating point tensor, what ``auto`` falls back to."""
        for name in self._file_of:
            (dtype,) = self._read_all([name], lambda tensor: tensor.dtype).values()
            if dtype.is_floating_point:
                return dtype
        raise ModelError(f"{self.folder}: the checkpoint holds no floating point tensor")

    def identity(self) -> dict[str, str]:
        """Return, by file name, what tells whether a file is still the same.

        That is a SHA-256 of its size, its time of change and its header (names, shapes, types
        and places of all tensors); hashing the tensors would cost as much as reading them.
        """
        hashes = {}
        for path in self.files:
            status = path.stat()
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = file.read(length)
            stamp = f"{status.st_size} {status.st_mtime_ns} ".encode()
            hashes[path.name] = hashlib.sha256(stamp + header).hexdigest()
        return hashes

    def _read_all(
        self, names: Iterable[str], take: Callable[[Tensor], _Value]
    ) -> dict[str, _Value]:
        """Return ``take(tensor)`` by name; every file is opened once."""
        by_file: dict[str, list[str]] = defaultdict(list)
        for name in names:
            if name not in self._file_of:
                raise ModelError(f"{self.folder}: the checkpoint has no tensor {name!r}")
            by_file[self._file_of[name]].append(name)
        values: dict[str, _Value] = {}
        for file_name, inside in by_file.items():
            with _open(self.folder / file_name) as file:
                values |= {name: take(file.get_tensor(name)) for name in inside}
        return values

    def _single(self) -> dict[str, str]:
        path = self.folder / SINGLE
        if not path.is_file():
            raise ModelError(
                f"{self.folder}: neither {SINGLE} nor {INDEX} is there; layer by layer works from "
                "safetensors only: load the model and save_pretrained() it"
            )
        with _open(path) as file:
            return dict.fromkeys(file.keys(), SINGLE)

    def _shards(self) -> dict[str, str]:
        path = self.folder / INDEX
        try:
            weight_map = json.loads(path.read_text("utf-8"))["weight_map"]
            file_of = {str(name): str(file) for name, file in weight_map.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{path}: damaged index ({error!r})") from None
        for file in sorted(set(file_of.values())):
            # A name with a folder in it could lead anywhere.
            if Path(file).name != file or not (self.folder / file).is_file():
                raise ModelError(f"{path}: the shard {file!r} is missing from the folder")
        return file_of


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path}: cannot be read ({reason})") from error
