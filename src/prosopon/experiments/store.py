"""Where the cells of an experiment are kept: in a folder, or in memory.

experiment.json     what all cells share: another header is an error
cells/<key>.json    one cell; written whole or not at all
masks/<name>/       the masks that cells wear
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from prosopon.errors import ExperimentError
from prosopon.experiments.plan import KINDS
from prosopon.experiments.records import Record
from prosopon.files import write_json, write_text
from prosopon.subnetwork import Subnetwork

FORMAT_VERSION = 2
HEADER, CELLS = "experiment.json", "cells"
EARLIER = ("comparison.json", "sweep.json")
"""Headers of folders that earlier versions wrote."""


class Memory:
    """Keeps the cells of an experiment as long as the process lives.

    Args:
        header: What all cells share.
    """

    def __init__(self, header: Mapping[str, Any]) -> None:
        self.header = dict(header)
        self._records: dict[str, Record] = {}
        self._masks: dict[str, Subnetwork] = {}

    def get(self, key: str) -> Record | None:
        """Return a cell's record, or None where it has not been run."""
        return self._records.get(key)

    def put(self, record: Record) -> None:
        """Keep a cell's record."""
        self._records[record.key] = record

    def mask(self, name: str) -> Subnetwork | None:
        """Return a mask that was kept, or None."""
        return self._masks.get(name)

    def put_mask(self, name: str, mask: Subnetwork) -> None:
        """Keep a mask."""
        self._masks[name] = mask


class Results(Memory):
    """Keeps them in a folder.

    Args:
        folder: Made where it is missing.
        header: What all cells share; JSON.

    Raises:
        ExperimentError: The folder holds another experiment, or something else, is damaged or
            cannot be written; says what differs.
    """

    def __init__(self, folder: str | Path, header: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        check_folder(folder)
        path = self.folder / HEADER
        wanted = json.loads(json.dumps({"format_version": FORMAT_VERSION, **header}))
        if path.exists():
            _check_same(_read_object(path), wanted, path)
        else:
            write_json(path, wanted)
        super().__init__(wanted)

    @classmethod
    def open(cls, folder: str | Path) -> "Results":
        """Open a folder that an experiment wrote.

        Raises:
            ExperimentError: There is none in it.
        """
        path = Path(folder) / HEADER
        if not path.is_file():
            _refuse_earlier(Path(folder))
            raise ExperimentError(f"{folder}: holds no experiment ({HEADER} is missing)")
        header = _read_object(path)
        version = header.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ExperimentError(
                f"{path}: format version {version!r}; this prosopon reads {FORMAT_VERSION}"
            )
        return cls(folder, header)

    def get(self, key: str) -> Record | None:
        """See :class:`Memory`.

        Raises:
            ExperimentError: The file is damaged or holds another cell.
        """
        path = self.path(key)
        if not path.exists():
            return None
        value = _read_object(path)
        if value.get("key") != key:
            raise ExperimentError(
                f"{path}: holds the cell {value.get('key')!r}; delete it to run it again"
            )
        if value.pop("format_version", None) != FORMAT_VERSION:
            raise ExperimentError(f"{path}: not a cell of this version; delete it to run it again")
        try:
            return Record.from_json(value)
        except (KeyError, TypeError, AttributeError) as error:
            raise ExperimentError(
                f"{path}: not a cell ({error}); delete it to run it again"
            ) from None

    def put(self, record: Record) -> None:
        """See :class:`Memory`."""
        value = {"format_version": FORMAT_VERSION, **record.to_json()}
        write_text(self.path(record.key), json.dumps(value, ensure_ascii=False, allow_nan=False))

    def records(self) -> list[Record]:
        """Return every record of the folder, sorted by seed, kind, arm and contrast.

        Raises:
            ExperimentError: A file is damaged.
        """

        def place(record: Record) -> tuple[Any, ...]:
            cell = record.cell
            kind = KINDS.index(record.kind) if record.kind in KINDS else len(KINDS)
            return cell.seed, kind, cell.arm, record.label, cell.examples, cell.contrast

        keys = sorted(path.stem for path in (self.folder / CELLS).glob("*.json"))
        return sorted((r for key in keys if (r := self.get(key)) is not None), key=place)

    def mask(self, name: str) -> Subnetwork | None:
        """See :class:`Memory`."""
        folder = self.folder / "masks" / name
        return Subnetwork.from_pretrained(folder) if folder.exists() else None

    def put_mask(self, name: str, mask: Subnetwork) -> None:
        """See :class:`Memory`."""
        folder = self.folder / "masks" / name
        if not folder.exists():
            mask.save_pretrained(folder)

    def path(self, key: str) -> Path:
        """Return where a cell's file is."""
        return self.folder / CELLS / f"{key}.json"


def content_key(content: Any) -> str:
    """Return the hexadecimal SHA-256 (first 20 digits) of a JSON value; order of keys is nothing.

    Raises:
        ValueError: It holds NaN or an infinity.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def check_folder(folder: str | Path) -> None:
    """Check that an experiment can be written, before hours of work; leaves nothing behind.

    Raises:
        ExperimentError: It is a file, holds something else, or cannot be written.
    """
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise ExperimentError(f"{folder}: is a file, not a folder; give another --output")
    if place.is_dir() and not (place / HEADER).exists():
        _refuse_earlier(place)
        if any(place.iterdir()):
            raise ExperimentError(
                f"{folder}: is not empty and holds no experiment; give another --output"
            )
    try_writing(place)


def try_writing(folder: str | Path) -> None:
    """Try to write a file in a folder, and leave nothing behind.

    Raises:
        ExperimentError: It cannot be written.
    """
    place = Path(folder)
    missing = [path for path in (place, *place.parents) if not path.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise ExperimentError(
            f"{folder}: cannot be written ({error.strerror or error}); give another --output"
        ) from None
    finally:
        for path in missing:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _refuse_earlier(folder: Path) -> None:
    for name in EARLIER:
        if (folder / name).exists():
            raise ExperimentError(
                f"{folder}: holds a {name.removesuffix('.json')} of an earlier version, which "
                "asked in another way; its tables can be read, but it cannot be gone on with: "
                "give another --output to run it again"
            )


def _check_same(header: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    for name in dict.fromkeys((*wanted, *header)):
        if header.get(name) != wanted.get(name):
            raise ExperimentError(
                f"{path}: this folder's experiment has {name} {_short(header.get(name))}, not "
                f"{_short(wanted.get(name))}; give another --output"
            )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise ExperimentError(
            f"{path}: cannot be read ({problem}); delete it to run it again"
        ) from None
    if not isinstance(value, dict):
        raise ExperimentError(f"{path}: is not a JSON object; delete it to run it again")
    return value


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."
