"""Reading and writing the folder of a subnetwork.

``subnetwork_config.json`` holds the provenance and, of ``subnetwork.safetensors``, the shapes,
the counts and the SHA-256. Nothing in either file is believed before it agrees with the other:
sizes come from bytes that are there, never from a number that a file states.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prosopon.errors import SubnetworkError
from prosopon.files import atomic_path, write_json
from prosopon.subnetwork.config import FORMAT_VERSION, SubnetworkConfig, first_error
from prosopon.subnetwork.encodings import (
    MASK,
    Encoding,
    Masks,
    choose_encoding,
    decode_masks,
    encode_masks,
    parse_tensors,
)

CONFIG_NAME = "subnetwork_config.json"
"""The file of the provenance."""

MASKS_NAME = "subnetwork.safetensors"
"""The file of the masks and their ranking."""

READS = (1, FORMAT_VERSION)
"""Versions of the folder format that are read."""

_AGAIN = "copy or download the folder again"


def write_folder(
    folder: Path, masks: Masks, config: SubnetworkConfig, encoding: Encoding | None = None
) -> SubnetworkConfig:
    """Write masks and provenance into ``folder``, and return the provenance as written.

    The masks are written first: after an interruption in between the checksum does not fit,
    and the folder is refused instead of read as a mixture.
    """
    encoding = encoding or choose_encoding(masks.keep)
    content = encode_masks(masks, encoding)
    changes = {
        "format_version": FORMAT_VERSION,
        "encoding": encoding,
        "ranked": masks.levels is not None,
        "checksum": hashlib.sha256(content).hexdigest(),
    }
    config = config.model_copy(update=changes)
    try:
        with atomic_path(folder / MASKS_NAME) as temporary:
            temporary.write_bytes(content)
        write_json(folder / CONFIG_NAME, config.model_dump(mode="json"))
    except OSError as error:
        raise SubnetworkError(f"{folder}: cannot be written: {error.strerror}") from error
    return config


def read_folder(folder: Path) -> tuple[Masks, SubnetworkConfig]:
    """Read what :func:`write_folder` wrote: masks in the order of the configuration's sites."""
    content = _read(folder, CONFIG_NAME)
    try:
        config = parse_config(content)
    except SubnetworkError as error:
        raise SubnetworkError(f"{folder / CONFIG_NAME}: {error}") from None
    content = _read(folder, MASKS_NAME)
    try:
        return unstamp(content, config), config
    except SubnetworkError as error:
        raise SubnetworkError(f"{folder / MASKS_NAME}: {error}; {_AGAIN}") from None


def parse_config(content: bytes) -> SubnetworkConfig:
    """Parse the provenance; the version first, since a later one may mean anything."""
    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError) as error:  # includes text that is not UTF-8
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SubnetworkError(f"not JSON ({reason}); {_AGAIN}") from None
    version = value.get("format_version") if isinstance(value, dict) else None
    if version not in READS:
        raise SubnetworkError(
            f"format_version is {version!r}, and this prosopon reads "
            f"{' and '.join(map(str, READS))}; install the version that wrote it, or extract again"
        )
    try:
        return SubnetworkConfig.model_validate(value)
    except ValidationError as error:
        raise SubnetworkError(f"{first_error(error)}; {_AGAIN}") from None


def unstamp(content: bytes, config: SubnetworkConfig) -> Masks:
    """Decode the bytes of masks as their provenance tells."""
    if hashlib.sha256(content).hexdigest() != config.checksum:
        raise SubnetworkError(
            "damaged, truncated or of another subnetwork (its checksum is not the one "
            f"in {CONFIG_NAME})"
        )
    tensors = parse_tensors(content)
    if config.format_version == 1:  # named a tensor like its site
        tensors = {name + MASK: tensor for name, tensor in tensors.items()}
    return decode_masks(
        tensors, config.sites, config.encoding, config.sites if config.ranked else None
    )


def check_regular(path: Path) -> None:
    """Refuse to read what is there and no file: a device or a pipe may have no end."""
    if path.exists() and not path.is_file():
        raise SubnetworkError(f"{path}: no regular file")


def _read(folder: Path, name: str) -> bytes:
    """Read a file of the folder."""
    check_regular(folder / name)
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
