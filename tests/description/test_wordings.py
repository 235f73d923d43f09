"""A description becomes five different lines, and a short name."""

import pytest

from prosopon.data import bundled, library
from prosopon.description.wordings import short_name, word_lines
from prosopon.errors import OptionError


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize(
    "text", ["a curt expert", "You are curt. You know it all.", "patient and calm", "The Joker!"]
)
def test_five_lines_say_the_description_in_whole_sentences(text, chat):
    lines = word_lines(text, chat=chat)
    assert len(set(lines)) == 5
    for line in lines:
        assert text.rstrip("!").lower() in line.lower()
        assert line[-1] in ".!?"
        assert not line.endswith("..")


def test_a_phrase_goes_into_the_sentence_and_sentences_after_a_colon():
    assert word_lines("A curt expert.")[0] == "You are a curt expert."
    assert word_lines("  a curt\n expert ")[1] == "Answer as a curt expert would."
    assert word_lines("You are curt")[0] == "You are like this: You are curt."
    # A phrase with a sentence after it fits into no sentence.
    assert word_lines("a curt expert. Never smiles")[2].endswith(": a curt expert. Never smiles.")


def test_without_a_chat_template_the_lines_say_whose_text_follows():
    for text in ("a curt expert", "You are curt."):
        assert all("assistant" in line for line in word_lines(text, chat=False))
        assert not set(word_lines(text)) & set(word_lines(text, chat=False))


@pytest.mark.parametrize("text", ["", "  \n", "...", "?!"])
def test_an_empty_description_is_refused(text):
    with pytest.raises(OptionError, match="say in words who is meant"):
        word_lines(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a patient teacher who answers with questions", "patient-teacher"),
        ("a curt expert", "curt-expert"),
        ("Someone who checks, waits and insures", "checks-waits-insures"),
        ("You are a warm person. You are kind.", "warm-kind"),
        ("an extravert", "extravert"),
        ("you", "you"),
        ("Élan über alles", "élan-über-alles"),
        ("one/../two", "two"),
        ("???", "described"),
    ],
)
def test_short_names(text, name):
    assert short_name(text) == name


def test_every_pole_of_ours_can_be_described():
    texts = [pole.description for pole in library.poles().values()]
    texts += [bundled.description(name) for name in bundled.names()]
    for text in texts:
        assert len(set(word_lines(text))) == 5
        assert 1 <= len(short_name(text).split("-")) <= 4
