"""The update that goes with a mask: new values of the kept weights, in a file of their own.

A mask leaves kept weights as they are. A criterion that also computes what the kept weights
should become to make up for the pruned ones (SparseGPT with ``compensate``) gives a
compensation. It lies beside the masks in ``compensation.safetensors``: for every site its kept
weights in row-major order, in the dtype of the model that it was made on, with the SHA-256 of
the values and of the masks that it belongs to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from prosopon.errors import SubnetworkError
from prosopon.files import read_tensors, write_tensors
from prosopon.subnetwork.format import pack_rows
from prosopon.subnetwork.storage import check_regular

if TYPE_CHECKING:
    from torch import Tensor

COMPENSATION_NAME = "compensation.safetensors"
"""The file of the kept weights' new values."""

FORMAT_VERSION = 1
_AGAIN = "copy or download the folder again"


@dataclass(frozen=True)
class Compensation:
    """New values of the weights that a mask keeps."""

    # for every site its kept weights, row-major, floating, ``[kept]``, on the CPU
    values: Mapping[str, Tensor]

    @classmethod
    def of(cls, keep: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Compensation:
        """Pick the kept weights out of whole compensated matrices, ``[out, in]``."""
        return cls({name: weights[name].cpu()[mask.cpu()] for name, mask in keep.items()})

    def check_masks(self, keep: Mapping[str, Tensor]) -> None:
        """Raise a SubnetworkError unless there is one value for every weight that masks keep."""
        for name in keep.keys() | self.values.keys():
            values, mask = self.values.get(name), keep.get(name)
            if values is None or mask is None or int(mask.count_nonzero()) != len(values):
                raise SubnetworkError(f"the compensation of site {name!r} belongs to another mask")

    def matrix(self, name: str, keep: Tensor) -> Tensor:
        """Return a site's weights, ``[out, in]``, zero where its mask prunes, on the CPU."""
        values = self.values[name]
        whole = torch.zeros(keep.shape, dtype=values.dtype)
        whole[keep.cpu()] = values
        return whole

    def save(self, folder: str | Path, keep: Mapping[str, Tensor]) -> None:
        """Write ``compensation.safetensors`` beside the masks that it belongs to."""
        tensors = {name: value.contiguous() for name, value in self.values.items()}
        header = {
            "format_version": FORMAT_VERSION,
            "masks": _hash_masks(keep),
            "values": _hash_values(tensors),
        }
        path = Path(folder) / COMPENSATION_NAME
        try:
            write_tensors(path, tensors, header)
        except OSError as error:
            raise SubnetworkError(f"{path}: cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, folder: str | Path, keep: Mapping[str, Tensor]) -> Compensation | None:
        """Read what :meth:`save` wrote; None where the folder has none.

        Raises:
            SubnetworkError: The file is damaged, of another version, or of other masks.
        """
        path = Path(folder) / COMPENSATION_NAME
        if not path.exists():
            return None
        check_regular(path)
        try:
            header, tensors = read_tensors(path)
        except ValueError as error:
            raise SubnetworkError(f"{path}: not a compensation ({error}); {_AGAIN}") from None
        if header.get("format_version") != FORMAT_VERSION:
            raise SubnetworkError(
                f"{path}: format_version is {header.get('format_version')!r}, and this prosopon "
                f"reads {FORMAT_VERSION}; install the version that wrote it"
            )
        if header.get("masks") != _hash_masks(keep):
            raise SubnetworkError(f"{path}: belongs to other masks than those beside it; {_AGAIN}")
        if set(tensors) != set(keep) or header.get("values") != _hash_values(tensors):
            raise SubnetworkError(f"{path}: damaged (its values' checksum differs); {_AGAIN}")
        return cls({name: tensors[name] for name in keep})


def _hash_masks(keep: Mapping[str, Tensor]) -> str:
    return _hash(
        (f"{name}\0{list(mask.shape)}\0", pack_rows(mask)) for name, mask in sorted(keep.items())
    )


def _hash_values(tensors: Mapping[str, Tensor]) -> str:
    return _hash(
        (f"{name}\0{value.dtype}\0{len(value)}\0", value.contiguous().view(torch.uint8))
        for name, value in sorted(tensors.items())
    )


def _hash(parts: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for head, tensor in parts:
        digest.update(head.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()
