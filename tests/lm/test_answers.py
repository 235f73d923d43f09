"""Likelihood scores equal Hugging Face's own loss, whatever the batch."""

import pytest
import torch

from prosopon.data import Message, encode
from prosopon.lm.answers import score_answers
from tests.tiny import tiny_model

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
