"""A folder of results, cell by cell: one file for what all share, one for each finished cell.

<kind>.json         what all cells share: another header is an error
cells/<key>.json    one cell; written whole or not at all
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prosopon.errors import ProsoponError
from prosopon.files import write_json, write_text

CELLS = "cells"


def content_key(content: Any) -> str:
    """Return the hexadecimal SHA-256 (first 20 digits) of a JSON value; order of keys is nothing.

    Raises:
        ValueError: It holds NaN or an infinity.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class CellFolder:
    """Reads and writes a folder of cells.

    Args:
        folder: Made where it is missing.
        header: What all cells share; JSON.
        kind: What the folder holds, for its file name and messages: ``sweep``.
        version: Format version; another one is an error.
        error: What is raised.

    Raises:
        ProsoponError: Of type ``error``: the folder holds another header, or something else, or
            is damaged; says what differs.
    """

    def __init__(
        self,
        folder: str | Path,
        header: Mapping[str, Any],
        *,
        kind: str,
        version: int,
        error: type[ProsoponError],
    ) -> None:
        self.folder, self.kind, self.version = Path(folder), kind, version
        self._error = error
        if self.folder.exists() and not self.folder.is_dir():
            raise error(f"{folder}: is a file, not a folder; give another --output")
        wanted: dict[str, Any] = json.loads(json.dumps({"format_version": version, **header}))
        path = self.folder / f"{kind}.json"
        if path.exists():
            self._check_same(read_object(path, error), wanted, path)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise error(f"{folder}: is not empty and holds no {kind}; give another --output")
        else:
            write_json(path, wanted)
        self.header = wanted

    def read(self, key: str) -> dict[str, Any] | None:
        """Return a cell's file, or None where it has not been run.

        Raises:
            ProsoponError: The file is damaged or holds another cell.
        """
        path = self.path(key)
        if not path.exists():
            return None
        found = read_object(path, self._error)
        if found.get("key") != key:
            raise self._error(
                f"{path}: holds the cell {found.get('key')!r}; delete it to run it again"
            )
        if found.pop("format_version", None) != self.version:
            raise self._error(f"{path}: not a cell of this version; delete it to run it again")
        return found

    def write(self, key: str, value: Mapping[str, Any], *, compact: bool = False) -> None:
        """Write a cell's file; ``value`` holds its key. Compact files have no line breaks."""
        told = {"format_version": self.version, **value}
        if compact:
            write_text(self.path(key), json.dumps(told, ensure_ascii=False, allow_nan=False))
        else:
            write_json(self.path(key), told)

    def known(self) -> list[str]:
        """Return the keys of all cells, sorted."""
        return sorted(path.stem for path in (self.folder / CELLS).glob("*.json"))

    def path(self, key: str) -> Path:
        """Return where a cell's file is."""
        return self.folder / CELLS / f"{key}.json"

    def damaged(self, key: str, why: object) -> ProsoponError:
        """Return the error that says that a file is no cell."""
        return self._error(f"{self.path(key)}: not a cell ({why}); delete it to run it again")

    def _check_same(self, found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
        for name in dict.fromkeys((*wanted, *found)):
            if found.get(name) != wanted.get(name):
                raise self._error(
                    f"{path}: this folder's {self.kind} has {name} {_short(found.get(name))}, not "
                    f"{_short(wanted.get(name))}; give another --output"
                )


def read_object(path: Path, error: type[ProsoponError]) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ProsoponError: Of type ``error``: there is none, or it cannot be read.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise error(f"{path}: cannot be read ({problem}); delete it to run it again") from None
    if not isinstance(found, dict):
        raise error(f"{path}: is not a JSON object; delete it to run it again")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."
