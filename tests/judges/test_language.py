"""What is language like the known texts, and what is not."""

import random

import pytest

from prosopon.data import bundled
from prosopon.judges.language import LanguageCheck
from prosopon.lm.answers import nats_per_token
from prosopon.models import load_model


def answers(pole, start, count):
    return [e.response for e in bundled.load(pole).examples[start : start + count]]


KNOWN = answers("bold", 0, 128) + answers("cautious", 0, 128)


@pytest.fixture(scope="module")
def check():
    return LanguageCheck(KNOWN)


def shuffled(text, seed=0):
    words = text.split()
    random.Random(seed).shuffle(words)
    return " ".join(words)


def test_held_out_answers_are_language(check):
    held_out = answers("bold", 300, 60) + answers("cautious", 300, 60)
    assert sum(check.passes(held_out)) >= 118


BROKEN = [
    "",
    " \n ",
    "risk",
    "...",
    "Ich würde lieber zu Hause bleiben und ein gutes Buch lesen.",
    "зачем рисковать, если можно остаться дома и пить чай",
    "purple seven kettle under quickly nobody's elbow sings triangular",
    "I would go go go go go go go go go go",
    "yes yes yes yes yes yes yes yes",
]


@pytest.mark.parametrize("text", BROKEN)
def test_broken_text_is_none(check, text):
    assert check.passes([text]) == [False]


def test_shuffled_words_are_none(check):
    texts = [shuffled(text) for text in answers("bold", 300, 40) if len(text.split()) > 8]
    assert len(texts) > 15
    assert sum(check.passes(texts)) <= len(texts) * 0.1


def test_words_of_further_texts_are_known():
    text = "Triangular kettles sing under nobody's elbow in purple weather."
    assert LanguageCheck(KNOWN).passes([text]) == [False]
    assert LanguageCheck(KNOWN, [text]).passes([text]) == [True]


def test_short_known_texts_make_short_texts_language():
    words = ["Yes", "No", "Yes.", "No.", "Yes, I do", "No, never"]
    assert LanguageCheck(words).passes(["Yes", "no", ""]) == [True, True, False]


def test_what_the_base_model_finds_less_likely_than_all_is_none():
    model, tokenizer, *_ = load_model("embedded", device="cpu")
    known = ["I would stay at home.", "I would leap at once.", "We went to the old harbour."]
    check = LanguageCheck(known, known, lambda texts: nats_per_token(model, tokenizer, texts))
    assert check.passes([known[0], "stay leap harbour old the to"]) == [True, False]
    assert check.passes(["", known[1]]) == [False, True]
