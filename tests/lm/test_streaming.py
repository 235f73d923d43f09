"""Streamed answers are the generated ones, in pieces, and draw nothing from the global state."""

import pytest
import torch

from prosopon.data import Message
from prosopon.lm.generation import generate_answers, opening_tokens
from prosopon.lm.streaming import end_tokens, stream_text
from tests.tiny import tiny_model

PROMPT = [Message("user", "How are you?")]


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_joined_it_is_the_generated_answer(family, temperature):
    model, tokenizer = tiny_model(family, chat=True)
    settings = {"temperature": temperature, "max_new_tokens": 24, "seed": 3}
    state = torch.random.get_rng_state()
    pieces = list(stream_text(model, tokenizer, opening_tokens(PROMPT, tokenizer), **settings))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert "".join(pieces) == generate_answers(model, tokenizer, [PROMPT], **settings)[0]
    assert len(pieces) > 3


def test_it_stops_at_the_end_token_and_shows_whole_characters():
    model, tokenizer = tiny_model("llama")
    text = "naïve ☃"
    planned = [*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id, 70]

    class Planned(torch.nn.Module):
        """Writes what was planned, and keeps no cache."""

        generation_config = model.generation_config

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.rows = []

        def forward(self, ids, use_cache):
            self.rows.append(ids[0].tolist())
            logits = torch.zeros(1, ids.shape[1], len(tokenizer))
            logits[0, -1, planned[len(self.rows) - 1]] = 9.0
            return type("Output", (), {"logits": logits})

    writer = Planned()
    pieces = list(stream_text(writer, tokenizer, [5, 6], temperature=0, max_new_tokens=50))
    assert "".join(pieces) == text
    assert "☃" in pieces[-1]
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(writer.rows) == len(planned) - 1
    assert writer.rows[2] == [5, 6, *planned[:2]]


def test_end_tokens():
    model, tokenizer = tiny_model("llama")
    assert end_tokens(model, tokenizer) == {tokenizer.eos_token_id}
    model.generation_config.eos_token_id = [2, 7]
    assert end_tokens(model, tokenizer) == {2, 7}
    model.generation_config.eos_token_id = tokenizer.eos_token = None
    assert end_tokens(model, tokenizer) == set()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_no_more_tokens_than_asked_for(count):
    model, tokenizer = tiny_model("llama", chat=True)
    row = opening_tokens(PROMPT, tokenizer)
    pieces = list(stream_text(model, tokenizer, row, temperature=0.0, max_new_tokens=count))
    assert len(pieces) <= count
    written = tokenizer("".join(pieces), add_special_tokens=False).input_ids
    assert len(written) <= count
    assert row == opening_tokens(PROMPT, tokenizer)  # what was given stays as it is
