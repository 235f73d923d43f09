"""Where the weights of a site lie in memory, and writing them there as raw bits.

Weights are written as integers of their width, so that no rounding, no flushing of tiny numbers
and no dtype can come in between. On the CPU NumPy does it: for the few hundred weights that a
light mask names in a site, it takes a tenth of the time of the like operation of torch
(docs/design/runtime.md).
"""

from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from prosopon.models import Site

Flat = Any  # np.ndarray on the CPU, Tensor elsewhere: the same index syntax
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Home:
    """The memory of one site's weight, as it is now: ``flat``, one integer a weight.

    Keeps that memory alive, so a weight that has been moved can never come to lie at the same
    address unnoticed.
    """

    def __init__(self, site: Site) -> None:
        self.site, self.weight = site, site.weight
        self._columns = site.in_features
        rows, columns = site.matrix().stride()
        self._strides = int(rows), int(columns)
        self.flat: Flat = _outward(_span(site.weight.detach()))

    @property
    def total(self) -> int:
        """How many weights the site has."""
        return self.site.out_features * self.site.in_features

    def read(self, indices: Tensor) -> Tensor:
        """Copy the weights at int64 row-major positions."""
        return self.inward(self.flat[_outward(self.offsets(indices))])

    def offsets(self, indices: Tensor) -> Tensor:
        """Turn int64 row-major positions of the [out, in] matrix into places in memory."""
        if self._strides == (self._columns, 1):
            return indices
        rows, columns = indices // self._columns, indices % self._columns
        return rows * self._strides[0] + columns * self._strides[1]

    def outward(self, offsets: Tensor, *values: Tensor) -> list[Flat]:
        """Bring places in memory and weights into the form for :attr:`flat`, places ascending."""
        if self._strides != (self._columns, 1):
            offsets, order = offsets.sort()
            values = tuple(bits[order] for bits in values)
        weights = (bits.to(self.weight.dtype) for bits in values)
        return [_outward(offsets), *(_outward(_as_integers(bits)) for bits in weights)]

    def inward(self, bits: Flat) -> Tensor:
        """Turn what was read from :attr:`flat` into weights."""
        tensor = torch.from_numpy(bits) if isinstance(bits, np.ndarray) else bits
        return cast(Tensor, tensor).view(self.weight.dtype)


class Step(NamedTuple):
    """The writes into one site that lead from one look to another."""

    home: int  # number of the site
    flat: Flat  # its memory
    fresh: bool  # whether the site is on the base before, so that ``before`` are its originals
    offsets: Flat  # places in its memory, ascending
    before: Flat  # what lies there before, as integers
    after: Flat  # what is to lie there

    @property
    def nbytes(self) -> int:
        """Memory that the step takes."""
        return int(self.offsets.nbytes + self.before.nbytes + self.after.nbytes)


def write(flat: Flat, offsets: Flat, values: Flat) -> None:
    """Write integers to places of a flat view; nothing else in its memory changes."""
    if isinstance(flat, np.ndarray):
        flat[offsets] = values
        return
    # Works on weights made under inference_mode, too, and whatever mode the caller is in.
    with torch.inference_mode(flat.is_inference()), torch.no_grad():
        flat.index_copy_(0, offsets, values)


def equal(one: Flat, other: Flat) -> bool:
    """Tell whether two lists of integers are the same."""
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return torch.equal(one, other)


def _span(weight: Tensor) -> Tensor:
    """Return the memory from a weight's first to its last element as one row of integers."""
    if not weight.is_contiguous():
        steps = zip(weight.shape, weight.stride(), strict=True)
        last = sum((size - 1) * stride for size, stride in steps)
        weight = weight.as_strided((last + 1,), (1,))
    return _as_integers(weight.view(-1))


def _as_integers(values: Tensor) -> Tensor:
    return values.view(_INTEGERS[values.element_size()])


def _outward(tensor: Tensor) -> Flat:
    return tensor.numpy() if tensor.device.type == "cpu" else tensor
