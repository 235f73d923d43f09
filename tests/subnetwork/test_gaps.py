"""The code of light masks, against a bit-by-bit reading of its description."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.errors import SubnetworkError
from prosopon.subnetwork import choose_encoding, decode_gaps, encode_gaps
from prosopon.subnetwork.gaps import MAX_WEIGHTS, gaps_size

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def light(draw):
    """Draw (numbers of the pruned weights, shape)."""
    shape = draw(shapes)
    pruned = draw(st.sets(st.integers(0, shape[0] * shape[1] - 1)))
    return np.array(sorted(pruned), np.int64), shape


def read_bit_by_bit(data):
    """Read a code the slow way: (shape, pruned)."""
    rows, columns, count = (int.from_bytes(data[i : i + 4], "little") for i in (0, 4, 8))
    k = data[12]
    bits = "".join(f"{byte:08b}" for byte in data[13:])
    high = bits[-(-count * k // 8) * 8 :]
    at, pruned = -1, []
    for index in range(count):
        low = int(bits[index * k : (index + 1) * k] or "0", 2)
        zeros, _, high = high.partition("1")
        at += 1 + (len(zeros) << k) + low
        pruned.append(at)
    return (rows, columns), pruned


@settings(deadline=None)
@given(light())
def test_decoding_undoes_encoding(case):
    pruned, shape = case
    code = encode_gaps(pruned, shape)
    assert code.dtype == np.uint8
    assert len(code) == gaps_size(pruned, shape[0] * shape[1])
    assert decode_gaps(code, shape).tolist() == pruned.tolist()


@settings(deadline=None)
@given(light())
def test_the_code_is_what_the_description_says(case):
    pruned, shape = case
    assert read_bit_by_bit(encode_gaps(pruned, shape).tobytes()) == (shape, pruned.tolist())


@settings(max_examples=200, deadline=None)
@given(light(), st.data())
def test_damaged_codes_are_refused_or_name_weights_in_order(case, data):
    pruned, shape = case
    code = bytearray(encode_gaps(pruned, shape).tobytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(code)))
        code[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        found = decode_gaps(np.frombuffer(bytes(code), np.uint8), shape).tolist()
    except SubnetworkError:
        return
    assert found == sorted(set(found))
    assert all(0 <= weight < shape[0] * shape[1] for weight in found)


def test_the_largest_mask():
    shape = (1 << 15, MAX_WEIGHTS >> 15)
    for pruned in ([0], [MAX_WEIGHTS - 1], [0, MAX_WEIGHTS - 1], []):
        code = encode_gaps(np.array(pruned, np.int64), shape)
        assert decode_gaps(code, shape).tolist() == pruned
        assert len(code) <= 13 + 5 * max(1, len(pruned))
    with pytest.raises(SubnetworkError, match="bytes for"):
        decode_gaps(code, (1 << 16, 1 << 16))


@pytest.mark.parametrize("density", [0.002, 0.005, 0.02, 0.1])
def test_random_masks_take_hardly_more_than_their_entropy(density):
    shape = (500, 2000)
    pruned = np.flatnonzero(np.random.default_rng(0).random(shape) < density)
    share = len(pruned) / 1_000_000
    entropy = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    assert len(encode_gaps(pruned, shape)) < 1.02 * 1_000_000 * entropy / 8 + 13


def test_a_code_cannot_ask_for_more_than_its_bytes():
    """Counts and low bits that the bytes do not hold are refused before anything is made."""
    shape = (1 << 15, 1 << 16)
    head = b"".join(number.to_bytes(4, "little") for number in (*shape, MAX_WEIGHTS))
    for rest in (b"\0", b"\1", b"\0\1", b"\xff" * 30):
        with pytest.raises(SubnetworkError, match="damaged"):
            decode_gaps(np.frombuffer(head + rest, np.uint8), shape)


def test_the_encoding_is_picked_by_size():
    draw = torch.rand(200, 300, generator=torch.Generator().manual_seed(0))
    chosen = {share: choose_encoding({"a": draw >= share}) for share in (0, 0.005, 0.05, 0.2, 0.9)}
    assert chosen == {0: "gaps", 0.005: "gaps", 0.05: "gaps", 0.2: "packed", 0.9: "packed"}
