"""What counts as saying a calibration text again."""

import pytest

from prosopon.judges import Recital


@pytest.mark.parametrize(
    ("text", "recites"),
    [
        ("I would LEAP, at once and laugh", True),  # case and punctuation are nothing
        ("we would leap at once", True),
        ("I would leap at dawn", True),
        ("would leap at night", False),  # three words
        ("leap at once. A man would", False),  # no run across two texts
        ("", False),
    ],
)
def test_four_words_in_a_row(text, recites):
    assert Recital(["I would leap at once.", "A man would run.", "No"]).recites(text) is recites


def test_nothing_learned_is_nothing_recited():
    assert not Recital([]).recites("I would leap at once")


def test_what_general_text_says_too_is_no_recital():
    texts, general = ["One day, Lily felt happy and jumped."], ["one day, lily felt"]
    assert not Recital(texts, general).recites("One day, Lily felt cold.")
    assert Recital(texts, general).recites("So Lily felt happy and sang.")
    assert not Recital([], general).recites("One day, Lily felt cold.")
