"""The form of a light mask: the gaps between its pruned weights, Rice-coded.

Number the weights of a mask row by row, and let a gap be how many kept weights lie between a
pruned weight and the one before it. If weights are pruned at random with probability p, gaps
are geometric, for which Golomb's code is optimal (Golomb, "Run-length encodings", 1966); with
a power of two as its divisor it is Rice's (1971) and costs about log2(1 / p) + 1.5 bits a
pruned weight, against the entropy of log2(1 / p) + 1.44. A gap g is cut in two::

    low   g mod 2^k   k bits each, all beside each other
    high  g div 2^k   so many 0 bits and a 1 each, all beside each other

Both halves are read with a handful of array operations, without a loop over the weights. One
mask is the bytes ``rows, columns, count, k, low, high``: three numbers of 4 bytes and one of 1,
little-endian, then the halves, highest bit first, each filled up with zero bits to the next
whole byte. Because a gap cannot be negative, no code names one weight twice or out of order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prosopon.errors import SubnetworkError

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]

MAX_WEIGHTS = 1 << 31
"""A mask of more weights has no such form: a few bytes may not ask for more memory."""

_HEADER = 13
_TRIED = 5  # divisors below the largest sensible one; smaller ones only pay for masks of clumps


def gaps_size(pruned: Integers, total: int) -> int:
    """Return how many bytes :func:`encode_gaps` needs, without encoding."""
    gaps = _gaps(pruned)
    return _size(gaps, _divisor(gaps, total))


def encode_gaps(pruned: Integers, shape: tuple[int, int]) -> Bytes:
    """Encode which weights of a mask are pruned.

    Args:
        pruned: Their numbers, int64 [count], counted row by row and ascending.
        shape: (out, in) of the mask, of at most `MAX_WEIGHTS` weights.

    Returns:
        Uint8 [bytes]; the same for the same mask.
    """
    gaps = _gaps(pruned)
    k = _divisor(gaps, shape[0] * shape[1])
    numbers = np.array([*shape, len(gaps)], "<u4")
    ends = np.cumsum((gaps >> k) + 1)
    high = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    high[ends - 1] = 1
    low = (gaps[:, None] >> np.arange(k)[::-1]) & 1
    halves = np.packbits(low.astype(np.uint8).ravel()), np.packbits(high)
    return np.concatenate([numbers.view(np.uint8), np.array([k], np.uint8), *halves])


def decode_gaps(data: Bytes, shape: tuple[int, int]) -> Integers:
    """Undo :func:`encode_gaps`: numbers of the pruned weights, ascending and below out * in.

    Allocates in proportion to the bytes that are there.

    Raises:
        SubnetworkError: The bytes are no code of a mask of this shape.
    """
    total = shape[0] * shape[1]
    k, count, low, high = _split(data, shape)
    if not count:
        return np.empty(0, np.int64)
    if not len(high) or not high[-1] or 8 * (len(high) - 1) >= count + (total >> k):
        raise _damage("its high parts are too short or too long")
    ones = np.flatnonzero(np.unpackbits(high))
    if len(ones) != count:
        raise _damage(f"it holds {len(ones)} gaps, not {count}")
    gaps = (np.diff(ones, prepend=-1) - 1) << k
    gaps |= _read_low(low, count, k)
    pruned: Integers = np.cumsum(gaps + 1) - 1
    if pruned[-1] >= total:
        raise _damage(f"a gap leads beyond its {total} weights")
    return pruned


def _split(data: Bytes, shape: tuple[int, int]) -> tuple[int, int, Bytes, Bytes]:
    """Return k, the number of gaps and the bytes of their halves, of checked lengths."""
    total = shape[0] * shape[1]
    if len(data) < _HEADER or total > MAX_WEIGHTS:
        raise _damage(f"{len(data)} bytes for {total} weights")
    rows, columns, count = (int(number) for number in data[: _HEADER - 1].view("<u4"))
    k = int(data[_HEADER - 1])
    if (rows, columns) != shape:
        raise _damage(f"it is one of [{rows}, {columns}], not of the stated {list(shape)}")
    # What the encoder may choose; it also keeps every sum below 2^63.
    if count > total or k > _largest(count, total):
        raise _damage(f"{count} gaps of {k} low bits for {total} weights")
    end = _HEADER + -(-count * k // 8)
    if len(data) < end or (not count and len(data) > end):
        raise _damage(f"{len(data)} bytes for {count} gaps")
    low = data[_HEADER:end]
    padding = 8 * len(low) - count * k
    if padding and int(low[-1]) & ((1 << padding) - 1):
        raise _damage("it has bits set beyond its low parts")
    return k, count, low, data[end:]


def _read_low(low: Bytes, count: int, k: int) -> Integers:
    """Return ``count`` numbers of k bits each: each is cut out of the 8 bytes it begins in."""
    if not k:
        return np.zeros(count, np.int64)
    padded = np.concatenate([low, np.zeros(8, np.uint8)])
    words: NDArray[Any] = np.ndarray((len(low),), ">u8", padded, strides=(1,))
    starts = np.arange(count, dtype=np.int64) * k
    shifts = (64 - k - (starts & 7)).astype(np.uint64)
    cut = (words[starts >> 3].astype(np.uint64) >> shifts) & np.uint64((1 << k) - 1)
    numbers: Integers = cut.astype(np.int64)
    return numbers


def _gaps(pruned: Integers) -> Integers:
    """Return how many kept weights precede each pruned one."""
    return np.diff(pruned, prepend=-1) - 1


def _largest(count: int, total: int) -> int:
    """Return the most low bits that can pay: about log2 of the mean gap, and one more."""
    return (total // count).bit_length() if count else 0


def _divisor(gaps: Integers, total: int) -> int:
    """Return the number of low bits, k, that gives the fewest bytes."""
    most = _largest(len(gaps), total)
    return min(range(max(0, most - _TRIED), most + 1), key=lambda k: (_size(gaps, k), k))


def _size(gaps: Integers, k: int) -> int:
    """Return the bytes of a code with k low bits."""
    high = len(gaps) + int((gaps >> k).sum())
    return _HEADER + -(-len(gaps) * k // 8) + -(-high // 8)


def _damage(what: str) -> SubnetworkError:
    return SubnetworkError(f"a mask of gaps is damaged: {what}")
