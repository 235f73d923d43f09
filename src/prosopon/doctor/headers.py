"""What a file of weights holds, from its header alone: no tensor is read, no library is needed."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from prosopon.errors import ModelError

LONGEST = 100_000_000
"""Bytes of a header that are read at most, as in the safetensors library."""

_ALIGNMENT = "general.alignment"
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_NUMBERS |= {12: "d"}
_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K"}
_TYPES |= {11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 30: "BF16"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as its file's header states it.

    Attributes:
        name: Its name in the file.
        shape: Rows first.
        dtype: In the file's own word, such as ``F32``, ``BF16`` or ``Q4_K``.
        nbytes: What it takes in the file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def safetensors_header(path: Path) -> list[StoredTensor]:
    """Return the tensors of a safetensors file, as its header lists them.

    Raises:
        ModelError: The file is damaged.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(_exactly(file, 8), "little")
            if length > LONGEST:
                raise ValueError(f"a header of {length:,} bytes")
            entries = json.loads(_exactly(file, length))
        return [
            StoredTensor(
                str(name), tuple(map(int, entry["shape"])), str(entry["dtype"]),
                int(entry["data_offsets"][1]) - int(entry["data_offsets"][0]),
            )
            for name, entry in entries.items()
            if name != "__metadata__"
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError) as error:
        raise ModelError(f"{path}: no readable safetensors header ({error})") from None


def gguf_header(path: Path) -> tuple[dict[str, Any], list[StoredTensor]]:
    """Return the fields and the tensors of a GGUF file; of a field that is a list its length.

    Raises:
        ModelError: The file is damaged or cut off, or of a version before 2.
    """
    try:
        with path.open("rb") as file:
            if _exactly(file, 4) != b"GGUF":
                raise ValueError("it does not begin as a GGUF file does")
            version, count, fields = (_number(file, code) for code in "IQQ")
            if not 2 <= version < 256:
                raise ValueError(f"version {version}, which is not supported")
            values = {_text(file): _value(file, int(_number(file, "I"))) for _ in range(fields)}
            stated = [_stated(file) for _ in range(count)]
            step = int(values.get(_ALIGNMENT, 32))
            begin = -(-file.tell() // step) * step
        return values, list(_sized(stated, path.stat().st_size - begin))
    except (ValueError, struct.error, UnicodeDecodeError, OSError) as error:
        raise ModelError(f"{path}: no readable GGUF header ({error})") from None


def _stated(file: BinaryIO) -> tuple[str, tuple[int, ...], str, int]:
    """Return a tensor's name, shape, type and place in the file's data."""
    name, dimensions = _text(file), int(_number(file, "I"))
    if dimensions > 8:
        raise ValueError(f"a tensor of {dimensions} dimensions")
    shape = tuple(int(_number(file, "Q")) for _ in range(dimensions))
    kind, place = int(_number(file, "I")), int(_number(file, "Q"))
    return name, shape[::-1], _TYPES.get(kind, f"type {kind}"), place


def _sized(stated: list[tuple[str, tuple[int, ...], str, int]], end: int) -> Iterator[StoredTensor]:
    """Yield the tensors with their bytes: each one ends where the next begins."""
    places = sorted({place for *_, place in stated} | {end})
    after: Mapping[int, int] = dict(pairwise(places))
    for name, shape, dtype, place in stated:
        if place not in after:
            raise ValueError(f"tensor {name!r} lies behind the end of the file: is it cut off?")
        yield StoredTensor(name, shape, dtype, after[place] - place)


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind != _ARRAY:
        return _number(file, _NUMBERS.get(kind, ""))
    inner, length = int(_number(file, "I")), int(_number(file, "Q"))
    if inner in _NUMBERS:
        file.seek(length * struct.calcsize(f"<{_NUMBERS[inner]}"), 1)
        return length
    for _ in range(length):
        _value(file, inner)
    return length


def _text(file: BinaryIO) -> str:
    length = int(_number(file, "Q"))
    if length > LONGEST:
        raise ValueError(f"a text of {length:,} bytes")
    return _exactly(file, length).decode()


def _number(file: BinaryIO, code: str) -> Any:
    if not code:
        raise ValueError("a field of an unknown type")
    return struct.unpack(f"<{code}", _exactly(file, struct.calcsize(f"<{code}")))[0]


def _exactly(file: BinaryIO, length: int) -> bytes:
    content = file.read(length)
    if len(content) < length:
        raise ValueError("it ends too early")
    return content
