from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prosopon.data import Batch, Encoded, Message, collate, encode_all, length_buckets
from prosopon.errors import OptionError
from tests.tiny import tiny_model

lengths = st.lists(st.integers(1, 12), max_size=20)
sides = st.sampled_from(["left", "right"])


def items(sizes):
    """Items whose tokens and masks are all different from each other and from padding."""
    made = []
    for number, size in enumerate(sizes):
        scope = [(number + place) % 3 > 0 for place in range(size)]
        response = [(number + place) % 2 > 0 for place in range(size)]
        made.append(Encoded([100 * number + place + 1 for place in range(size)], scope, response))
    return made


@given(lengths, st.integers(1, 40), st.integers(1, 5), sides, st.integers(0, 9))
def test_padding_changes_nothing(sizes, max_tokens, max_rows, side, pad_id):
    """Taking the padding off again gives back every item, once."""
    encoded = items(sizes)
    options = {"max_tokens": max_tokens, "max_rows": max_rows, "padding_side": side}
    seen = {}
    for batch in length_buckets(encoded, pad_id=pad_id, **options):
        for row, index in enumerate(batch.index):
            mask = batch.attention_mask[row].bool()
            values = [getattr(batch, name)[row] for name in ("input_ids", "scope", "response")]
            assert index not in seen
            seen[index] = Encoded(*(value[mask].tolist() for value in values))
            assert (values[0][~mask] == pad_id).all()
            assert not (batch.scope[row] | batch.response[row])[~mask].any()
            assert batch.position_ids[row][mask].tolist() == list(range(int(mask.sum())))
            edge = mask if side == "right" else mask.flip(0)
            assert edge.tolist() == sorted(edge.tolist(), reverse=True)
    assert [seen[index] for index in range(len(encoded))] == encoded


@given(lengths, st.integers(1, 40), st.integers(1, 5))
def test_limits_and_order(sizes, max_tokens, max_rows):
    batches = list(length_buckets(items(sizes), max_tokens=max_tokens, max_rows=max_rows))
    order = [index for batch in batches for index in batch.index]
    assert order == sorted(range(len(sizes)), key=lambda index: (sizes[index], index))
    for batch in batches:
        assert len(batch) <= max_rows
        assert len(batch) == 1 or batch.input_ids.numel() <= max_tokens
        assert batch.input_ids.shape[1] == max(sizes[index] for index in batch.index)
    for batch, following in itertools.pairwise(batches):
        longest = sizes[following.index[0]]  # a batch is closed only where one more does not fit
        assert len(batch) == max_rows or (len(batch) + 1) * longest > max_tokens


def test_shapes_and_dtypes():
    (batch,) = length_buckets(items([3, 1, 2]))
    assert batch.index == [1, 2, 0]
    expected = {
        "input_ids": torch.int64,
        "attention_mask": torch.int64,
        "scope": torch.bool,
        "response": torch.bool,
        "position_ids": torch.int64,
    }
    for name, dtype in expected.items():
        assert getattr(batch, name).dtype == dtype
        assert getattr(batch, name).shape == (3, 3)
    assert batch.attention_mask.tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_left_padding():
    batch = collate(items([3, 1]), padding_side="left", pad_id=9)
    assert batch.input_ids.tolist() == [[1, 2, 3], [9, 9, 101]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch.position_ids.tolist() == [[0, 1, 2], [0, 0, 0]]


def test_collate_keeps_the_order():
    encoded = items([3, 1, 2])
    batch = collate(encoded)
    assert batch.index == [0, 1, 2]
    assert batch.input_ids.tolist() == [[1, 2, 3], [101, 0, 0], [201, 202, 0]]


def equal(one: Batch, two: Batch) -> bool:
    names = ("input_ids", "attention_mask", "scope", "response", "position_ids")
    same = all(torch.equal(getattr(one, name), getattr(two, name)) for name in names)
    return same and one.index == two.index


def test_row():
    batch = collate(items([3, 1, 2]))
    row = batch.row(1)
    assert row.index == [1]
    assert row.input_ids.tolist() == [[101, 0, 0]]
    assert row.scope.shape == (1, 3)
    assert equal(batch.row(-1), batch.row(2))
    with pytest.raises(IndexError):
        batch.row(3)


def test_to():
    batch = collate(items([3, 1]))
    moved = batch.to("meta")
    assert moved.index == batch.index
    assert moved.input_ids.device.type == moved.scope.device.type == "meta"
    assert equal(batch.to("cpu"), batch)


def test_nothing_gives_no_batch():
    assert list(length_buckets([])) == []
    with pytest.raises(OptionError, match="at least one row"):
        collate([])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"max_rows": -1}, "max_rows is -1"),
        ({"padding_side": "top"}, r"unknown padding side 'top'\. Choices: left, right"),
    ],
)
def test_options_are_checked_at_the_call(options, reason):
    with pytest.raises(OptionError, match=reason):
        length_buckets(items([1]), **options)


def test_collate_checks_the_side():
    with pytest.raises(OptionError, match="unknown padding side"):
        collate(items([1]), padding_side="top")


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_model_sees_no_padding(family, side):
    """Logits of a padded row equal those of the row alone."""
    model, tokenizer = tiny_model(family)
    texts = ["Yes", "No, never", "I would rather stay at home with the cat."]
    encoded = encode_all(
        [[Message("user", "Party?"), Message("assistant", t)] for t in texts], tokenizer
    )

    def logits(batch):
        with torch.no_grad():
            return model(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                position_ids=batch.position_ids,
            ).logits

    for batch in length_buckets(encoded, max_rows=2, padding_side=side, pad_id=3):
        together = logits(batch)
        for row, index in enumerate(batch.index):
            alone = logits(collate([encoded[index]]))[0]
            mask = batch.attention_mask[row].bool()
            torch.testing.assert_close(together[row][mask], alone, rtol=1e-4, atol=1e-5)
