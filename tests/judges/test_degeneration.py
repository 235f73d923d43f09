"""Degeneration against figures counted by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.judges import degeneration
from prosopon.judges.degeneration import repeated_share


def test_counted_by_hand():
    found = degeneration(["a b c a b c", "The cat sat.", ""])
    # first text: abc bca cab abc, one of four repeated; second: four words, two 3-grams
    assert found.repetition == pytest.approx((0.25 + 0) / 2)
    # bigrams: ab bc ca ab bc | the-cat cat-sat sat-.
    assert found.distinct_bigrams == pytest.approx(6 / 8)
    assert found.mean_words == pytest.approx(10 / 3)
    assert found.empty == pytest.approx(1 / 3)


def test_a_loop_is_nearly_all_repetition():
    assert degeneration(["no " * 100]).repetition == pytest.approx(97 / 98)
    assert degeneration(["no " * 100]).distinct_bigrams == pytest.approx(1 / 99)


def test_one_text_for_everything_shows_in_the_bigrams_alone():
    same = degeneration(["we went to the sea"] * 10)
    assert same.repetition == 0
    assert same.distinct_bigrams == pytest.approx(0.1)


def test_nothing():
    assert degeneration([]).empty == 1
    assert degeneration(["", " "]).empty == 1
    assert degeneration(["", " "]).distinct_bigrams == 1
    assert degeneration(["one"]).empty == 0


def test_case_does_not_count():
    assert degeneration(["A b A B"]) == degeneration(["a b a b"])


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=12))
def test_repetition_is_what_a_slow_loop_counts(words):
    seen, again = [], 0
    for i in range(len(words) - 2):
        triple = words[i : i + 3]
        again += triple in seen
        seen.append(triple)
    expected = again / len(seen) if seen else 0.0
    assert repeated_share(words) == pytest.approx(expected)
    assert degeneration([" ".join(words)]).repetition == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), max_size=8))
def test_any_texts_have_shares_between_0_and_1(texts):
    signs = degeneration(texts)
    assert 0 <= signs.repetition <= 1
    assert 0 <= signs.distinct_bigrams <= 1
    assert 0 <= signs.empty <= 1
    assert signs.mean_words >= 0
