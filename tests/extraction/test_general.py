"""General text is what the model writes by itself, whole."""

import pytest

from prosopon.extraction import sample_general
from tests.tiny import tiny_model


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_dialogue_goes_on_after_its_first_turn(family):
    model, tokenizer = tiny_model(family, chat=True)
    model.generation_config.eos_token_id = list(range(200))  # most tokens end a turn
    texts = sample_general(model, tokenizer, count=8, length=24)
    assert [len(text.input_ids) for text in texts] == [24] * 8
    start = tokenizer.bos_token_id
    assert sum(row.input_ids[1:].count(start) for row in texts) < 8  # drawn, not filled up


def test_a_plain_text_ends_at_its_end():
    model, tokenizer = tiny_model("llama")
    stop = tokenizer.eos_token_id
    texts = sample_general(model, tokenizer, count=64, length=96)
    ended = [row.input_ids for row in texts if stop in row.input_ids]
    assert ended
    assert all(row.index(stop) == len(row) - 1 for row in ended)
