"""Mean hidden states: the same alone and in any batch, and what a slow reading gives."""

import numpy as np
import pytest
import torch

from prosopon.lm.states import mean_states
from tests.tiny import tiny_model

NEAR = {"rtol": 1e-5, "atol": 1e-6}
TEXTS = ["one", "a longer text of some words", "two words"]


def slow(model, ids):
    with torch.no_grad():
        layers = model(input_ids=ids, output_hidden_states=True).hidden_states
    return layers[round(2 / 3 * (len(layers) - 1))][0].double().mean(0).numpy()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_mean_over_tokens_at_two_thirds_of_the_layers(family):
    model, tokenizer = tiny_model(family)
    states = mean_states(model, tokenizer, TEXTS)
    for text, row in zip(TEXTS, states, strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        np.testing.assert_allclose(row, slow(model, ids), **NEAR)


def test_batches_and_order_change_nothing_and_long_texts_lose_their_beginning():
    model, tokenizer = tiny_model("llama")
    whole = mean_states(model, tokenizer, TEXTS)
    alone = mean_states(model, tokenizer, TEXTS[::-1], max_tokens=1)[::-1]
    np.testing.assert_allclose(whole, alone, **NEAR)
    ids = torch.tensor([tokenizer(TEXTS[1])["input_ids"][-2:]])
    np.testing.assert_allclose(
        mean_states(model, tokenizer, [TEXTS[1]], max_length=2)[0], slow(model, ids), **NEAR
    )
    assert mean_states(model, tokenizer, []).shape[0] == 0
