"""The library: what is in it, and that no pole gives itself away by anything small."""

import re
from collections import Counter

import pytest

from prosopon.data import Message, library, load_contrast, load_persona
from prosopon.errors import UnknownNameError
from prosopon.experiments.assembly import Source

AXES = {pole.axis: pole.name for pole in library.poles().values() if pole.opposite != library.PLAIN}
CHARACTERS = {p.axis: p.name for p in library.poles().values() if p.opposite == library.PLAIN}
LIMIT = 0.65  # accuracy that no single feature may reach


def words(text):
    return re.findall(r"\w+(?:'\w+)?|[^\w\s]", text.lower())


@pytest.fixture(scope="module", params=sorted(AXES | CHARACTERS))
def sides(request):
    persona = library.load((AXES | CHARACTERS)[request.param])
    return [e.response for e in persona.examples], [e.alternative for e in persona.examples]


def test_there_is_what_the_readme_says():
    assert len(AXES) == 16
    assert sorted(CHARACTERS) == ["detective", "grandmother", "philosopher", "pirate"]
    assert library.PLAIN not in library.names()
    for pole in library.poles().values():
        assert pole.prompt.startswith("You ")
        assert pole.description.endswith(".")


def test_lengths_do_not_tell_the_poles_apart(sides):
    shorter = [(len(a) < len(b)) + (len(a) == len(b)) / 2 for a, b in zip(*sides, strict=True)]
    assert 0.45 <= sum(shorter) / len(shorter) <= 0.55
    for a, b in zip(*sides, strict=True):
        assert max(len(a), len(b)) <= 1.35 * min(len(a), len(b))


def test_no_word_and_no_mark_tells_them_apart(sides):
    counts = [Counter(w for text in side for w in set(words(text))) for side in sides]
    accuracies = {
        word: 0.5 + abs(counts[0][word] - counts[1][word]) / (2 * len(sides[0]))
        for word in counts[0] | counts[1]
    }
    assert max(accuracies.values()) < LIMIT, max(accuracies, key=accuracies.get)


def test_the_first_word_does_not_tell_them_apart(sides):
    first = [Counter(words(text)[0] for text in side) for side in sides]
    right = 0.0
    for own, other in (first, first[::-1]):
        for word, count in own.items():  # of an answer left out
            right += count * (0.5 + (count - 1 > other[word]) / 2 - (count - 1 < other[word]) / 2)
    assert right / (2 * len(sides[0])) < LIMIT


def test_answers_are_readable_and_none_comes_twice(sides):
    texts = [*sides[0], *sides[1]]
    assert len({" ".join(words(text)) for text in texts}) == len(texts) == 240
    for text in texts:
        assert text.isascii()
        assert text[-1] in ".!?"
        assert 8 <= len(text.split()) <= 45


def test_no_question_of_an_axis_comes_twice():
    for name in (AXES | CHARACTERS).values():
        asked = [" ".join(words(e.prompt[0].content)) for e in library.load(name).examples]
        assert len(set(asked)) == len(asked) == 120


def test_both_poles_answer_the_same_questions():
    ours, theirs = load_contrast("library:introvert")
    assert (ours.name, theirs.name) == ("introvert", "extravert")
    for one, other in zip(ours.examples, theirs.examples, strict=True):
        assert one.prompt == other.prompt
        assert (one.response, one.alternative) == (other.alternative, other.response)
    assert ours.examples[0].source == "library:introvert 1"


def test_a_character_stands_against_the_plain_helper():
    ours, theirs = load_contrast("library:pirate", limit=5)
    assert len(ours) == len(theirs) == 5
    assert [e.alternative for e in ours.examples] == [e.response for e in theirs.examples]


def test_a_persona_is_loaded_by_its_name():
    persona = load_persona("library:cold", limit=3, name="ice")
    assert (persona.name, len(persona)) == ("ice", 3)
    assert persona.description == library.pole("cold").description
    assert isinstance(persona.examples[0].prompt[0], Message)
    with pytest.raises(UnknownNameError, match=r"persona of the library 'plain'.*introvert"):
        load_persona("library:plain")


def test_the_system_line_of_a_contrast_is_the_library_s_unless_one_is_given():
    for line in (None, "You are ice."):
        (contrast,) = Source((), "library:cold", line=line).contrasts("any", 4).values()
        assert contrast.line == (line or library.pole("cold").prompt)
        assert (contrast.target, contrast.opposite) == ("cold", "warm")
    assert library.find("cold") is library.find(None) is None
