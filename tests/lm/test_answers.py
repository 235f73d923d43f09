"""Likelihood scores equal Hugging Face's own loss, whatever the batch."""

import pytest
import torch
from tokenizers.processors import ByteLevel

from prosopon.data import Message, encode
from prosopon.errors import DataError
from prosopon.lm.answers import nats_per_token, score_answers
from tests.tiny import tiny_model, tiny_tokenizer

PROMPTS = ["Hi?", "Where do the people go on a long Friday?", "Why"]
ANSWERS = ["Yes, all of them.", "No", "the people are living there and there and there"]
ITEMS = [((Message("user", p),), a) for p in PROMPTS for a in ANSWERS]


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_scores_equal_the_library_s_loss(family, chat):
    model, tokenizer = tiny_model(family, chat=chat)
    scores = score_answers(model, tokenizer, ITEMS)
    for (prompt, answer), score in zip(ITEMS, scores, strict=True):
        encoded = encode((*prompt, Message("assistant", answer)), tokenizer)
        ids = torch.tensor([encoded.input_ids])
        labels = ids.where(torch.tensor([encoded.response]), -100)
        loss = model(input_ids=ids, labels=labels).loss
        assert score.total / score.tokens == pytest.approx(-float(loss), abs=1e-5)
        assert score.size == len(answer.encode())


def test_plain_text_is_gone_on_from():
    model, tokenizer = tiny_model("llama", chat=True)
    (score,) = score_answers(model, tokenizer, [((Message("assistant", "The people"),), "go")])
    ids = torch.tensor([tokenizer("The people go")["input_ids"]])
    log_p = model(ids).logits.log_softmax(-1)[0]
    start = len(tokenizer("The people")["input_ids"])
    told = sum(float(log_p[i - 1, ids[0, i]]) for i in range(start, ids.shape[1]))
    assert score.total == pytest.approx(told, abs=1e-4)
    assert score.tokens == ids.shape[1] - start


@pytest.fixture(scope="module")
def llama():
    return tiny_model("llama", chat=True)


def test_talks_and_plain_texts_keep_their_order(llama):
    plain = [((Message("assistant", "The people"),), " go"), ((), "Größe 🎭")]
    mixed = [ITEMS[0], plain[0], ITEMS[1], plain[1], ITEMS[2]]
    scores = score_answers(*llama, mixed)
    for item, score in zip(mixed, scores, strict=True):
        (alone,) = score_answers(*llama, [item])
        assert score.total == pytest.approx(alone.total, abs=1e-4)
        assert (score.tokens, score.size) == (alone.tokens, len(item[1].encode()))
    assert score_answers(*llama, []) == []


def test_a_text_alone_is_read_after_the_start_of_a_text(llama):
    model, tokenizer = llama
    ids = torch.tensor([tokenizer("The people")["input_ids"]])
    assert ids[0, 0] == tokenizer.bos_token_id
    expected = float(model(input_ids=ids, labels=ids).loss)
    assert nats_per_token(model, tokenizer, ["The people"]) == pytest.approx([expected], abs=1e-5)


def test_nothing_begins_a_text(llama):
    model, _ = llama
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = ByteLevel()  # puts nothing before a text
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(DataError, match="no token that begins a text"):
        nats_per_token(model, tokenizer, ["The people"])


@pytest.mark.parametrize("most", [1, 40, 10_000])
def test_a_batch_s_size_changes_no_score(llama, most):
    expected = [score.total for score in score_answers(*llama, ITEMS)]
    scores = score_answers(*llama, ITEMS, max_tokens=most)
    assert [score.total for score in scores] == pytest.approx(expected, abs=1e-4)
