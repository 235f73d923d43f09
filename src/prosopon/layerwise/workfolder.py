"""The work folder of a sequential run: what is finished, and whose work it is.

manifest.json                 what the run reads, and with what; another run is refused
layers/00003.json             written last: layer 3 is finished; its checksums and signs
layers/00003.<set>.safetensors   its statistics of one set of examples
states/00004/<batch>.safetensors  the input of layer 4; deleted when layer 4 is finished
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prosopon.errors import StatisticsError
from prosopon.files import read_tensors, sha256_file, write_json, write_tensors
from prosopon.models import Sample
from prosopon.statistics.statistics import Statistics

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class LayerPart:
    """What one layer has given."""

    statistics: Mapping[str, Statistics]  # of the layer's sites, by set of examples
    samples: Mapping[str, Sample]  # what the model's fingerprint reads of each of its sites


class WorkFolder:
    """A folder in which a run keeps its finished layers.

    Args:
        folder: Empty, not there yet, or of an earlier, broken off run with the same manifest.
        manifest: Everything the results depend on; JSON.

    Raises:
        StatisticsError: The folder holds something else, or another run's work (says what
            differs); or, from the methods, a file is missing or damaged.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        path = folder / MANIFEST
        if folder.exists() and not folder.is_dir():
            raise StatisticsError(f"{folder}: is a file, not a folder; give another --work-dir")
        if path.is_file():
            _compare(folder, _read_json(path), json.loads(json.dumps(manifest)))
        elif folder.is_dir() and any(not item.name.startswith(".") for item in folder.iterdir()):
            raise StatisticsError(
                f"{folder}: is not empty and no work folder (it has no {MANIFEST}); give another "
                "--work-dir"
            )
        else:
            write_json(path, dict(manifest))

    def finished(self) -> list[LayerPart]:
        """Return the parts of the layers that are finished, from the first on.

        Their inputs are deleted where a run was killed before it came to that.
        """
        parts: list[LayerPart] = []
        while self._record(len(parts)).is_file():
            parts.append(self._load(len(parts)))
            self._drop(len(parts) - 1)
        return parts

    def finish(self, number: int, part: LayerPart) -> None:
        """Write a finished layer's part; only then is its input deleted."""
        checksums = {}
        for name, statistics in part.statistics.items():
            statistics.save(self._statistics(number, name))
            checksums[name] = sha256_file(self._statistics(number, name))
        samples = {
            name: [sample.out_features, sample.in_features, sample.signs.hex()]
            for name, sample in part.samples.items()
        }
        write_json(self._record(number), {"checksums": checksums, "samples": samples})
        self._drop(number)

    def put(self, layer: int, batch: str, hidden: Tensor) -> None:
        """Keep a batch's input of ``layer``, ``[rows, length, size]``, whole or not at all."""
        write_tensors(self._state(layer, batch), {"hidden": hidden.cpu().contiguous()}, None)

    def get(self, layer: int, batch: str) -> Tensor:
        """Return a batch's input of ``layer``."""
        path = self._state(layer, batch)
        try:
            return read_tensors(path)[1]["hidden"].clone()
        except (ValueError, KeyError) as error:
            raise StatisticsError(
                f"{path}: hidden states are missing or damaged ({error}), so the run cannot go on "
                "from here; delete the work folder"
            ) from None

    def _drop(self, layer: int) -> None:
        shutil.rmtree(self.folder / "states" / f"{layer:05}", ignore_errors=True)

    def _load(self, number: int) -> LayerPart:
        path = self._record(number)
        record = _read_json(path)
        try:
            samples = {
                name: Sample(rows, columns, bytes.fromhex(signs))
                for name, (rows, columns, signs) in record["samples"].items()
            }
            checksums = dict(record["checksums"])
        except (KeyError, TypeError, ValueError) as error:
            raise StatisticsError(f"{path}: damaged ({error!r}); delete the work folder") from None
        statistics = {}
        for name, checksum in checksums.items():
            path = self._statistics(number, name)
            if not path.is_file() or sha256_file(path) != checksum:
                raise StatisticsError(f"{path}: missing or damaged; delete the work folder")
            statistics[name] = Statistics.load(path)
        return LayerPart(statistics, samples)

    def _state(self, layer: int, batch: str) -> Path:
        return self.folder / "states" / f"{layer:05}" / f"{batch}.safetensors"

    def _record(self, number: int) -> Path:
        return self.folder / "layers" / f"{number:05}.json"

    def _statistics(self, number: int, name: str) -> Path:
        return self.folder / "layers" / f"{number:05}.{name}.safetensors"


def _compare(folder: Path, stored: Any, wanted: Mapping[str, Any]) -> None:
    """Refuse the work of another run, naming the first thing that differs."""
    if not isinstance(stored, dict):
        raise StatisticsError(f"{folder / MANIFEST}: damaged; delete the work folder")
    for key in [*wanted, *(key for key in stored if key not in wanted)]:
        if stored.get(key) != wanted.get(key):
            raise StatisticsError(
                f"{folder}: holds the work of another run: its {key} is "
                f"{_short(stored.get(key))}, this run's {_short(wanted.get(key))}; give another "
                "--work-dir, or delete this one"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise StatisticsError(f"{path}: damaged ({error}); delete the work folder") from None
