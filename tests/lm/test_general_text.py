"""General text is what the model itself writes, whole dialogues where it speaks in turns."""

import torch

from prosopon.extraction.light.validation import mean_loss
from prosopon.lm import sample_general
from prosopon.models import load_model
from tests.tiny import tiny_model


def test_a_chat_model_goes_on_after_its_turn_ends():
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    texts = sample_general(model, tokenizer, count=8, length=64, seed=3)
    end = tokenizer.eos_token_id
    assert len(texts) == 8
    assert all(text.input_ids.count(end) >= 2 for text in texts)
    assert all(set(text.input_ids[text.input_ids.index(end) + 1 :]) != {end} for text in texts)
    # Its own text is likely to it; anything else costs several nats a token.
    assert mean_loss(model, texts) < 1.5


def test_a_plain_model_ends_its_text():
    model, tokenizer = tiny_model("llama", chat=False)
    texts = sample_general(model, tokenizer, count=4, length=32)
    assert all(tokenizer.eos_token_id not in text.input_ids[1:-1] for text in texts)


def test_the_seed_decides_and_the_global_generator_stays():
    model, tokenizer = tiny_model("llama")
    before = torch.random.get_rng_state()
    first, again, other = (
        [text.input_ids for text in sample_general(model, tokenizer, count=3, length=16, seed=s)]
        for s in (0, 0, 1)
    )
    assert first == again != other
    assert torch.equal(before, torch.random.get_rng_state())
