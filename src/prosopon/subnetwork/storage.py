"""Reading and writing the folder of a subnetwork.

``subnetwork_config.json`` holds the provenance and, of ``subnetwork.safetensors``, the shapes,
the counts and the SHA-256. Nothing in either file is believed before it agrees with the other:
sizes come from bytes that are there, never from a number that a file states.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from prosopon.errors import SubnetworkError
from prosopon.files import atomic_path, write_json
from prosopon.subnetwork.config import FORMAT_VERSION, SiteRecord, SubnetworkConfig, count_pruned
from prosopon.subnetwork.format import pack_rows, packed_width, unpack_rows

CONFIG_NAME = "subnetwork_config.json"
"""The file of the provenance."""

MASKS_NAME = "subnetwork.safetensors"
"""The file of the masks: a packed uint8 matrix under the name of every site."""

_AGAIN = "copy or download the folder again"


def write_folder(folder: Path, keep: Mapping[str, Tensor], config: SubnetworkConfig) -> str:
    """Write masks and provenance into ``folder`` and return the checksum of the masks.

    The masks are written first: after an interruption in between the checksum does not fit,
    and the folder is refused instead of read as a mixture.

    Raises:
        SubnetworkError: The folder cannot be written.
    """
    content = safetensors.save({name: pack_rows(mask) for name, mask in keep.items()})
    checksum = hashlib.sha256(content).hexdigest()
    stamped = config.model_copy(update={"checksum": checksum})
    try:
        with atomic_path(folder / MASKS_NAME) as temporary:
            temporary.write_bytes(content)
        write_json(folder / CONFIG_NAME, stamped.model_dump(mode="json"))
    except OSError as error:
        raise SubnetworkError(f"{folder}: cannot be written: {error.strerror}") from error
    return checksum


def read_folder(folder: Path) -> tuple[dict[str, Tensor], SubnetworkConfig]:
    """Read what :func:`write_folder` wrote: masks in the order of the configuration's sites.

    Raises:
        SubnetworkError: A file is missing or damaged, of an unknown version, or the two do not
            agree; names the file and says what to do.
    """
    config = _parse_config(folder / CONFIG_NAME, _read(folder, CONFIG_NAME))
    path = folder / MASKS_NAME
    content = _read(folder, MASKS_NAME)
    if hashlib.sha256(content).hexdigest() != config.checksum:
        raise SubnetworkError(
            f"{path}: damaged, truncated or of another subnetwork (its checksum is not the one "
            f"in {CONFIG_NAME}); {_AGAIN}"
        )
    packed = _parse_masks(path, content)
    if odd := sorted(set(packed) ^ set(config.sites)):
        raise SubnetworkError(
            f"{path}: sites differ from those in {CONFIG_NAME}: {_some(odd)}; {_AGAIN}"
        )
    return {
        name: _mask(path, name, packed.pop(name), record) for name, record in config.sites.items()
    }, config


def _read(folder: Path, name: str) -> bytes:
    """Read a file of the folder."""
    try:
        return (folder / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if not folder.is_dir():
            raise SubnetworkError(f"{folder}: no such folder") from None
        raise SubnetworkError(
            f"{folder}: no subnetwork: {name} is missing; give a folder that save_pretrained wrote"
        ) from None
    except OSError as error:
        raise SubnetworkError(f"{folder / name}: cannot be read: {error.strerror}") from error


def _parse_config(path: Path, content: bytes) -> SubnetworkConfig:
    """Parse the provenance; the version first, since a later one may mean anything."""
    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError) as error:  # includes text that is not UTF-8
        raise SubnetworkError(f"{path}: not JSON ({_line(error)}); {_AGAIN}") from None
    version = value.get("format_version") if isinstance(value, dict) else None
    if version != FORMAT_VERSION:
        raise SubnetworkError(
            f"{path}: format_version is {version!r}, and this prosopon reads {FORMAT_VERSION}; "
            "install the version that wrote it, or extract again"
        )
    try:
        return SubnetworkConfig.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SubnetworkError(f"{path}: {where!r}: {first['msg']}; {_AGAIN}") from None


def _parse_masks(path: Path, content: bytes) -> dict[str, Tensor]:
    """Parse the safetensors; its header is checked against its length by that library."""
    try:
        return safetensors.load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise SubnetworkError(f"{path}: not safetensors ({_line(error)}); {_AGAIN}") from None


def _mask(path: Path, name: str, packed: Tensor, record: SiteRecord) -> Tensor:
    """Unpack one mask and compare it with what the provenance says of it."""
    rows, columns = record.shape
    if tuple(packed.shape) != (rows, packed_width(columns)):
        raise SubnetworkError(
            f"{path}: site {name!r} is {list(packed.shape)} bytes, which is no mask of the "
            f"shape [{rows}, {columns}] that {CONFIG_NAME} states; {_AGAIN}"
        )
    try:
        mask = unpack_rows(packed, columns)
    except SubnetworkError as error:
        raise SubnetworkError(f"{path}: site {name!r}: {error}; {_AGAIN}") from None
    pruned = count_pruned(mask)
    if pruned != record.pruned:
        raise SubnetworkError(
            f"{path}: site {name!r} prunes {pruned} weights, not the {record.pruned} that "
            f"{CONFIG_NAME} states; {_AGAIN}"
        )
    return mask


def _line(error: Exception) -> str:
    """Return the first line of a message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _some(names: list[str]) -> str:
    """Return at most five names."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
