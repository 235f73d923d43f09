"""Every fault is seen, and nothing else is one; exchanging the sides changes nothing."""

import random

import pytest

from prosopon.data import library
from prosopon.description.sifting import (
    FAULTS,
    Sieve,
    match_lengths,
    refuses,
    shingles,
    similarity,
    tidy,
)

GOOD = ("I would bake a plum cake for them.", "Let us go and look at the river.")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One. Two. Thr", "One. Two."),
        ("No end at all", ""),
        ("", ""),
        ("A  line\nand another! And", "A line and another!"),
        ('He said "no." She', 'He said "no."'),
        ("It costs 3.50 in all", ""),
        ("1. Eat. 2. Sleep", "1. Eat."),
        ("Yes.\nUser: And you?\nAssistant: No.", "Yes."),
        ("Well... so be it?!", "Well... so be it?!"),
    ],
)
def test_tidy(text, kept):
    assert tidy(text) == kept
    assert tidy(tidy(text)) == tidy(text)


def test_the_longer_answer_loses_sentences_until_it_is_nearest():
    long = "One two three. Four five six. Seven eight nine. Ten."
    assert match_lengths(long, "A b c d e.") == ("One two three. Four five six.", "A b c d e.")
    assert match_lengths("A b c d e.", long)[::-1] == match_lengths(long, "A b c d e.")
    assert match_lengths(long, long) == (long, long)
    assert match_lengths("One two three four.", "A.") == ("One two three four.", "A.")
    assert match_lengths("", "A. B.") == ("", "A.")


@pytest.mark.parametrize(
    "text",
    [
        "As an AI, I have no plans.",
        "As a digital AI assistant, I do not eat.",
        "I'm sorry, but I can't say.",
        "I cannot help with that.",
        "I\u2019m unable to provide this.",
        "Well, I am a language model.",
        "I am SmolLM.",
    ],
)
def test_refusals(text):
    assert refuses(text)
    assert Sieve().fault((GOOD[0], text)) == Sieve().fault((text, GOOD[0])) == "refusal"


def test_answers_of_the_library_refuse_nothing():
    for name in library.names():
        refused = [e.response for e in library.load(name).examples if refuses(e.response)]
        assert len(refused) <= 2, refused  # "I'm sorry, but ..." is also how people talk


def test_faults_in_their_order():
    sieve = Sieve()
    assert sieve.fault(GOOD) is None
    assert sieve.fault((GOOD[0], "Too short.")) == "unfinished"
    loop = "Bake a cake and bake a cake and bake a cake and bake a cake."
    assert sieve.fault((loop, GOOD[1])) == "repetition"
    assert sieve.fault((GOOD[0], "I would bake a plum cake for them!")) == "duplicate"
    longer = f"{GOOD[1]} It is only a little way from here and the path is dry today."
    assert sieve.fault((GOOD[0], longer)) == "length"
    assert sieve.fault((longer, GOOD[0])) == "length"
    assert sieve.fault(("As an AI I do it. As an AI I do it. As an AI I do it.", "")) == (
        "unfinished"
    )
    seen = {"unfinished", "refusal", "repetition", "duplicate", "length"}
    assert set(FAULTS) - seen == {"likelihood", "perplexity"}  # the model's to find


def test_only_pairs_that_stay_are_remembered():
    sieve = Sieve()
    assert [sieve.fault(GOOD), sieve.fault(GOOD)] == [None, None]
    sieve.keep(GOOD)
    assert sieve.fault(GOOD) == "duplicate"
    assert sieve.fault(("We could walk along the old canal.", GOOD[0])) == "duplicate"
    assert sieve.fault(("We could walk along the old canal.", "Nobody asked me to come.")) is None


def test_similarity_is_jaccard_of_runs_of_three():
    one, other = shingles("a b c d"), shingles("b c d e")
    assert one == {("a", "b", "c"), ("b", "c", "d")}
    assert similarity(one, other) == similarity(other, one) == 1 / 3
    assert similarity(one, one) == 1.0
    assert similarity(shingles("A, b"), shingles("a , B")) == 1.0
    assert similarity(shingles("one two"), shingles("three")) == 0.0
    assert similarity(frozenset(), frozenset()) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_no_order_of_the_sides_matters_and_lengths_only_come_nearer(seed):
    rng = random.Random(seed)
    words = [
        "we",
        "go",
        "to",
        "the",
        "old",
        "mill",
        "and",
        "look",
        "at",
        "it",
        "again",
        "before",
        "noon",
    ]

    def text():
        sentences = (rng.choices(words, k=rng.randint(1, 8)) for _ in range(rng.randint(1, 4)))
        return " ".join(" ".join(row) + "." for row in sentences)

    for one, other in ((text(), text()) for _ in range(20)):
        ours, theirs = match_lengths(one, other)
        assert match_lengths(other, one) == (theirs, ours)
        assert one.startswith(ours)
        assert other.startswith(theirs)
        before, after = (
            abs(len(a.split()) - len(b.split())) for a, b in ((one, other), (ours, theirs))
        )
        assert after <= before
        assert Sieve().fault((ours, theirs)) == Sieve().fault((theirs, ours))
        assert similarity(shingles(one), shingles(other)) <= 1.0
