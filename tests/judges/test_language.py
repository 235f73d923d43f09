"""What is language like the known texts, and what is not."""

import random

import pytest

from prosopon.data import bundled
from prosopon.judges.degeneration import WORD
from prosopon.judges.language import LanguageCheck, NewWords, WordOrder


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
    rows, text = [t.split() for t in KNOWN], ["would", "triangular", "kettles", "sing"] * 4
    alone, more = NewWords(rows, set()), NewWords(rows, {"triangular", "kettles", "sing"})
    assert (alone.share(text), more.share(text)) == (0.75, 0)
    assert (alone.too_many(text), more.too_many(text)) == (True, False)
    assert alone.share([]) == 0


def test_order_is_learned_from_disorder_and_one_word_has_one():
    order = WordOrder(KNOWN)
    held_out = [t for t in answers("bold", 300, 40) if len(t.split()) > 6]
    kept, broken = (
        sum(order.holds(WORD.findall(change(t).casefold())) for t in held_out)
        for change in (str, shuffled)
    )
    assert kept >= 0.9 * len(held_out)
    assert broken <= 0.1 * len(held_out)
    assert order.holds(["zebra"])
    assert WordOrder(["Yes", "No"]).holds(["no", "yes"])  # there was nothing to learn


def test_short_known_texts_make_short_texts_language():
    words = ["Yes", "No", "Yes.", "No.", "Yes, I do", "No, never"]
    assert LanguageCheck(words).passes(["Yes", "no", ""]) == [True, True, False]


class Deaf:
    """Takes for language what has no "zz" in it."""

    def passes(self, texts, prompts=()):
        self.prompts = list(prompts)
        return ["zz" not in text for text in texts]


def test_with_a_reader_order_is_its_matter_and_new_words_are_not():
    deaf = Deaf()
    with_reader, without = LanguageCheck(KNOWN, reader=deaf), LanguageCheck(KNOWN)
    text = shuffled(next(t for t in answers("bold", 300, 40) if len(t.split()) > 8))
    tongue = "Ich würde lieber zu Hause bleiben und ein gutes Buch lesen."
    texts = [text, tongue, f"{text} zz", "", f"{text} " * 4, "risk"]
    assert with_reader.passes(texts, list("abcdef")) == [True] + [False] * 5
    assert deaf.prompts == ["a", "c"]  # what is none anyway is not read
    assert without.passes(texts[:2]) == [False, False]
