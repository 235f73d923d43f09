"""One forward pass: its arguments, the part below the head, and what sites read."""

import pytest
import torch

from prosopon.data import Encoded, collate
from prosopon.errors import StatisticsError
from prosopon.lm.forward import by_row, cache_name, inputs, past_of, trunk
from prosopon.models import find_sites
from tests.tiny import FAMILIES, RECURRENT, tiny_model

ROWS = [Encoded([1, 9, 20, 33], [True] * 4, [True] * 4), Encoded([1, 50], [True] * 2, [True] * 2)]


@pytest.mark.parametrize("family", FAMILIES)
def test_left_padding_does_not_shift_positions(family):
    model, _ = tiny_model(family)
    batch = collate(ROWS, padding_side="left")
    short = model(**inputs(model, batch)).logits[1, 2:]
    alone = model(**inputs(model, collate(ROWS[1:]))).logits[0]
    assert torch.allclose(short, alone, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_trunk_has_no_head(family):
    model, _ = tiny_model(family)
    batch = collate(ROWS)
    below = trunk(model)
    hidden = below(**inputs(below, batch)).last_hidden_state
    logits = model.get_output_embeddings()(hidden)
    assert torch.allclose(logits, model(**inputs(model, batch)).logits, atol=1e-5)
    linear = torch.nn.Linear(2, 2)
    assert trunk(linear) is linear


def test_tokens_are_told_apart_by_row():
    site = find_sites(tiny_model("opt")[0])[0]
    flat = torch.arange(24.0).reshape(6, 4)
    assert torch.equal(by_row(site, flat, (2, 3)), flat.reshape(2, 3, 4))
    assert by_row(site, whole := flat.reshape(2, 3, 4), (2, 3)) is whole
    with pytest.raises(StatisticsError, match=r"\(6, 4\).*2 x 2 tokens"):
        by_row(site, flat, (2, 2))


def test_what_a_model_calls_its_cache():
    class Older(torch.nn.Module):
        def forward(self, input_ids, past_key_values=None):
            return input_ids

    class Newer(torch.nn.Module):
        def forward(self, input_ids, cache=None):
            return input_ids

    class Without(torch.nn.Module):
        def forward(self, input_ids):
            return input_ids

    names = [cache_name(kind()) for kind in (Older, Newer, Without)]
    assert names == ["past_key_values", "cache", None]


@torch.no_grad()
def test_a_pass_goes_on_from_the_cache_of_the_one_before():
    model, _ = tiny_model("llama")
    ids = torch.tensor([[1, 9, 20, 33]])
    past = past_of(model(ids[:, :3], use_cache=True))
    assert list(past) == [cache_name(model)]
    last = model(ids[:, 3:], use_cache=True, **past).logits[0, -1]
    assert torch.allclose(last, model(ids).logits[0, -1], atol=1e-5)
    assert past_of(model(ids, use_cache=False)) == {}


@torch.no_grad()
def test_recurrent_states_are_no_keys_and_values():
    model, _ = tiny_model(RECURRENT)
    assert cache_name(model) is None
    assert past_of(model(torch.tensor([[1, 9, 20]]), use_cache=True)) == {}
