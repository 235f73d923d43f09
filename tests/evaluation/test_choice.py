"""Choice rates: three normalisations, ties, NaN."""

import itertools

import pytest
import torch

from prosopon.data import Message
from prosopon.data.questions import ChoiceItem
from prosopon.errors import DataError, ModelError
from prosopon.evaluation import choice_rates
from prosopon.lm.answers import score_answers
from tests.tiny import tiny_model

PROMPTS = ["Hi?", "Where do the people go on a long Friday?", "Why"]
ANSWERS = ["Yes, all of them.", "No", "the people are living there and there and there"]
ITEMS = [((Message("user", p),), a) for p in PROMPTS for a in ANSWERS]


def test_rates_under_three_normalisations():
    model, tokenizer = tiny_model("llama")
    items = [ChoiceItem(p, a, b) for (p, a), (_, b) in itertools.pairwise(ITEMS)]
    rates = choice_rates(model, tokenizer, items)
    scores = score_answers(model, tokenizer, [(i.prompt, i.matching) for i in items])
    others = score_answers(model, tokenizer, [(i.prompt, i.not_matching) for i in items])
    pairs = list(zip(scores, others, strict=True))
    assert rates.summed == sum(a.total > b.total for a, b in pairs) / len(items)
    assert rates.per_token == sum(a.total / a.tokens > b.total / b.tokens for a, b in pairs) / len(
        items
    )
    assert rates.per_byte == sum(a.total / a.size > b.total / b.size for a, b in pairs) / len(items)


def test_exchanging_the_answers_exchanges_the_rate():
    model, tokenizer = tiny_model("llama")
    items = [ChoiceItem(ITEMS[i][0], ANSWERS[i], ANSWERS[i - 1]) for i in range(3)]
    swapped = [ChoiceItem(i.prompt, i.not_matching, i.matching) for i in items]
    ahead, back = choice_rates(model, tokenizer, items), choice_rates(model, tokenizer, swapped)
    assert ahead.per_token + back.per_token == 1
    assert ahead.summed + back.summed == 1


def test_equal_answers_count_half_and_nothing_is_an_error():
    model, tokenizer = tiny_model("llama")
    assert choice_rates(model, tokenizer, [ChoiceItem(ITEMS[0][0], "a", "a")]).per_token == 0.5
    with pytest.raises(DataError, match="no choice items"):
        choice_rates(model, tokenizer, [])


def test_a_model_that_computes_no_numbers_wins_nothing():
    model, tokenizer = tiny_model("llama")
    weight = model.get_output_embeddings().weight
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.fill_(float("nan"))
        with pytest.raises(ModelError, match="NaN"):
            choice_rates(model, tokenizer, [ChoiceItem(ITEMS[0][0], "a", "b")])
    finally:
        with torch.no_grad():
            weight.copy_(before)
