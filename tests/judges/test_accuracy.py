"""How often a judge is right, both sides weighing the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.errors import DataError
from prosopon.intervals import share_interval
from prosopon.judges import balanced_accuracy, measure_accuracy

HITS = st.lists(st.booleans(), min_size=1, max_size=40)


class FirstWord:
    """Gives a text to the side that its first word names."""

    name, accuracy = "first word", None

    def __init__(self):
        self.prompts = []

    def verdicts(self, texts, prompts=()):
        self.prompts += prompts
        return [
            t.split()[0] if t.split()[0] in ("target", "opposite") else "neither" for t in texts
        ]


@settings(deadline=None)
@given(HITS, HITS)
def test_the_mean_of_two_shares_inside_its_interval(ours, theirs):
    found = balanced_accuracy(ours, theirs)
    assert found.mean == pytest.approx((sum(ours) / len(ours) + sum(theirs) / len(theirs)) / 2)
    assert -1e-9 <= found.low <= found.mean <= found.high <= 1 + 1e-9
    swapped = balanced_accuracy(theirs, ours)
    assert (swapped.mean, swapped.low, swapped.high) == pytest.approx(
        (found.mean, found.low, found.high)
    )


@settings(deadline=None)
@given(HITS)
def test_two_equal_sides_are_narrower_than_one(hits):
    one, both = share_interval(sum(hits), len(hits)), balanced_accuracy(hits, hits)
    assert both.mean == pytest.approx(one.mean)
    assert both.mean - both.low == pytest.approx((one.mean - one.low) / 2**0.5)
    assert both.high - both.mean == pytest.approx((one.high - one.mean) / 2**0.5)


def test_a_large_side_does_not_drown_a_small_one():
    assert balanced_accuracy([True] * 90, [False] * 10).mean == 0.5
    assert balanced_accuracy([True] * 90 + [False] * 10, [True]).mean == pytest.approx(0.95)


def test_neither_is_wrong_on_both_sides():
    judge = FirstWord()
    found = measure_accuracy(
        judge,
        ["target yes", "neither here", "target so", "opposite no"],
        ["opposite yes", "hm"],
        target_prompts=["a", "b", "c", "d"],
        opposite_prompts=["e", "f"],
    )
    assert found.mean == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert judge.prompts == list("abcdef")


@pytest.mark.parametrize(("ours", "theirs"), [([], ["opposite"]), (["target"], []), ([], [])])
def test_a_side_without_texts_is_refused(ours, theirs):
    with pytest.raises(DataError, match="both sides; one has none"):
        measure_accuracy(FirstWord(), ours, theirs)
