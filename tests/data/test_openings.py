"""Plain texts that begin alike: the beginning is no part of the answer."""

import pytest

from prosopon.data import Example, Message, encode
from prosopon.data.openings import answer, opening, shared_opening, without_shared_beginning
from tests.tiny import tiny_model


def plain(text):
    return Example((Message("assistant", text),))


def asked(text):
    return Example((Message("user", "How?"), Message("assistant", text)))


@pytest.mark.parametrize(
    ("ours", "theirs", "shared"),
    [
        ("Tom ran. He was glad.", "Tom ran. He wept.", "Tom ran. He"),
        ("Tom ran. He laughed.", "Tom ran. He leapt.", "Tom ran. He"),
        ("Tom ran.", "Tom ran. And wept.", "Tom ran."),
        ("Glad was he.", "Sad was he.", ""),
        ("Same.", "Same.", ""),
        ("Äpfel für uns", "Äpfel fürwahr", "Äpfel"),
        ("laughed", "leapt", ""),
    ],
)
def test_whole_words_are_shared(ours, theirs, shared):
    pair = plain(ours), plain(theirs)
    assert shared_opening(*pair) == shared_opening(*pair[::-1]) == shared
    assert f"{shared} {answer(pair[0], shared)}".strip() == ours


def test_prompts_leave_answers_whole():
    assert shared_opening(asked("I am glad."), asked("I am sad.")) == ""


def test_free_text_goes_on_from_the_first_words_where_nothing_is_shared():
    assert opening(plain("One two three four five"), plain("Six")) == "One two three four"
    assert opening(plain("One two"), plain("One three")) == "One"


def test_shared_tokens_do_not_count():
    _, tokenizer = tiny_model("llama")
    pair = tuple(encode(plain(text), tokenizer) for text in ("aaaa bbbb x", "aaaa bbbb yy"))
    cut = without_shared_beginning(pair)
    for before, after in zip(pair, cut, strict=True):
        assert after.input_ids == before.input_ids
        first = after.response.index(True)
        assert pair[0].input_ids[:first] == pair[1].input_ids[:first]
        assert not any(after.response[:first])
        assert after.response[first:] == before.response[first:]
        assert after.scope == after.response
    assert cut[0].input_ids[first] != cut[1].input_ids[first]


def test_a_side_that_would_have_nothing_left_stays_whole():
    _, tokenizer = tiny_model("llama")
    pair = tuple(encode(plain(text), tokenizer) for text in ("aaaa", "aaaa bbbb"))
    assert without_shared_beginning(pair) == pair
