"""Writing files so that an interruption never leaves half a file behind."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def cache_folder() -> Path:
    """Return the folder of what can be made again: ``$PROSOPON_CACHE``, or in the user's cache."""
    if own := os.environ.get("PROSOPON_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "prosopon"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that is renamed to it on success.

    The temporary file is flushed to disk before the rename and removed if the block raises,
    so that readers see the old file or the whole new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Any) -> None:
    """Write tensors and a JSON header as one safetensors file, whole or not at all."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, metadata={"prosopon": json.dumps(header)})


def read_tensors(path: str | Path) -> tuple[Any, dict[str, Tensor]]:
    """Return header and tensors that :func:`write_tensors` wrote.

    Raises:
        ValueError: The file is missing or damaged, or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["prosopon"])
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ValueError(str(error)) from None


def printable(path: str | Path) -> str:
    """Return a path as text that any UTF-8 file can hold.

    A name that is not UTF-8 on disk comes as half surrogates; they are written as escapes.
    """
    return str(path).encode("utf-8", "backslashreplace").decode()


def sha256_file(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def finite(value: Any) -> Any:
    """Return ``value`` with null for every number that is NaN or infinite."""
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
