"""Likelihoods, against one forward pass a text and one token at a time."""

import math

import pytest
import torch

from prosopon import progress
from prosopon.data import Encoded, Message, collate, encode
from prosopon.errors import DataError
from prosopon.lm import (
    answer_log_likelihoods,
    mean_per_row,
    perplexity,
    response_mask,
    row_log_likelihoods,
    text_losses,
    token_log_likelihoods,
)
from prosopon.progress import listening
from tests.tiny import FAMILIES, tiny_model

TALKS = [
    (Message("user", "Hi"), Message("assistant", "Yes")),
    (Message("user", "How are the people?"), Message("assistant", "the people is ing")),
    (Message("user", "?"), Message("assistant", "No!")),
]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def loaded(request):
    model, tokenizer = tiny_model(request.param, chat=True)
    return model, [encode(talk, tokenizer, scope="all") for talk in TALKS]


def by_token(model, encoded):
    """Return log p of every token after the first, each from the text before it alone."""
    ids = encoded.input_ids
    return [
        float(model(torch.tensor([ids[:i]])).logits[0, -1].double().log_softmax(-1)[ids[i]])
        for i in range(1, len(ids))
    ]


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_token(loaded, side):
    model, texts = loaded
    batch = collate(texts, padding_side=side)
    values, mask = token_log_likelihoods(model, batch), response_mask(batch, every=True)
    for row, text in enumerate(texts):
        assert values[row][mask[row]].tolist() == pytest.approx(by_token(model, text), abs=1e-4)


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("max_tokens", [1, 4096])
def test_rows(loaded, every, max_tokens):
    model, texts = loaded
    rows = row_log_likelihoods(model, texts, every=every, max_tokens=max_tokens)
    for text, (total, count) in zip(texts, rows, strict=True):
        counted = [every or flag for flag in text.response[1:]]
        expected = [value for value, yes in zip(by_token(model, text), counted, strict=True) if yes]
        assert (total, count) == (pytest.approx(sum(expected), abs=1e-3), len(expected))
    total, count = text_losses(model, texts, every=every)
    assert total == pytest.approx(-sum(row[0] for row in rows), abs=1e-3)
    assert count == sum(row[1] for row in rows)


def test_answers_have_a_gradient(loaded):
    model, texts = loaded
    batch = collate(texts)
    rows = row_log_likelihoods(model, texts, every=False)
    head = model.get_output_embeddings().weight.requires_grad_(True)
    try:
        answers = answer_log_likelihoods(model, batch)
        assert answers.tolist() == pytest.approx([total for total, _ in rows], abs=1e-3)
        answers.sum().backward()
        assert head.grad.abs().sum() > 0
    finally:
        head.requires_grad_(False).grad = None


def test_a_mean_is_of_the_masked_columns_only():
    values = torch.tensor([[1.0, 3.0, math.nan], [5.0, 6.0, 7.0]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert mean_per_row(values, mask).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("family", FAMILIES)
def test_perplexity_is_the_library_s_loss(family):
    model, tokenizer = tiny_model(family, chat=True)
    texts = [encode(talk, tokenizer, scope="all") for talk in TALKS]
    total = count = 0.0
    for text in texts:
        ids = torch.tensor([text.input_ids])
        total += float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    assert perplexity(model, texts) == pytest.approx(math.exp(total / count), rel=1e-4)


def test_perplexity_of_nothing_and_of_a_broken_model():
    model, tokenizer = tiny_model("llama")
    with pytest.raises(DataError, match="at least two tokens"):
        perplexity(model, [Encoded([5], [True], [True])])
    texts = [encode(TALKS[0], tokenizer, scope="all")]
    model.lm_head.weight.fill_(float("nan"))
    assert perplexity(model, texts) == math.exp(300)


def test_tokens_out_of_scope_do_not_count():
    model, tokenizer = tiny_model("llama", chat=True)
    answers = [encode(talk, tokenizer, scope="response") for talk in TALKS]
    assert text_losses(model, answers, every=True) == text_losses(model, answers, every=False)


@pytest.mark.parametrize("side", ["right", "left"])
def test_nan_of_padding_stays_out(side):
    """Queries that may look at nothing are NaN on some kernels."""
    model, tokenizer = tiny_model("llama", chat=True)
    texts = [encode(talk, tokenizer) for talk in TALKS]
    expected = row_log_likelihoods(model, texts, every=True, padding_side=side)

    def spoil(_module, _args, options, output):
        hidden = output.last_hidden_state
        padding = options["attention_mask"][:, -hidden.shape[1] :] == 0
        spoiled.append(int(padding.sum()))
        hidden[padding] = math.nan

    spoiled = []
    handle = model.base_model.register_forward_hook(spoil, with_kwargs=True)
    rows = row_log_likelihoods(model, texts, every=True, padding_side=side)
    handle.remove()
    assert sum(spoiled) > 0
    assert rows == expected


def test_who_waits_hears_how_many_texts_are_read(loaded, monkeypatch):
    said, (model, texts) = [], loaded
    monkeypatch.setattr(progress, "NOTICE", 0.0)
    with listening(lambda *line: said.append(line)):
        heard = row_log_likelihoods(model, texts, every=True, max_tokens=1)
    assert heard == row_log_likelihoods(model, texts, every=True, max_tokens=1)
    assert said == [("texts read", 1, 3), ("texts read", 2, 3), ("texts read", 3, 3)]
