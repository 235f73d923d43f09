"""Generation: the model's own, batched, seeded."""

import pytest
import torch

from prosopon.data import Message
from prosopon.lm import generate_answers
from tests.tiny import tiny_model

PROMPTS = [(Message("user", text),) for text in ("Hi", "A longer question, is it not?", "Why?")]


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_batches_change_no_greedy_answer(family):
    model, tokenizer = tiny_model(family, chat=True)
    together = generate_answers(model, tokenizer, PROMPTS, temperature=0.0, max_new_tokens=12)
    alone = generate_answers(
        model, tokenizer, PROMPTS, temperature=0.0, max_new_tokens=12, batch_size=1
    )
    assert together == alone


def test_seeds():
    model, tokenizer = tiny_model("llama", chat=True)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = generate_answers(model, tokenizer, PROMPTS, seed=1, max_new_tokens=12)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == generate_answers(model, tokenizer, PROMPTS, seed=1, max_new_tokens=12)
    assert first != generate_answers(model, tokenizer, PROMPTS, seed=2, max_new_tokens=12)


def test_a_tokenizer_without_a_padding_token():
    from tests.tiny import tiny_tokenizer

    model, _ = tiny_model("llama")
    answers = generate_answers(
        model, tiny_tokenizer(pad=False), PROMPTS, temperature=0.0, max_new_tokens=5
    )
    assert len(answers) == 3
