"""Signs that are counted, and what two judges have in common."""

import pytest

from prosopon.errors import OptionError
from prosopon.judges import SIGNS, agreement, count_signs


@pytest.mark.parametrize(
    ("text", "first", "social", "exclaims", "asks"),
    [
        ("I like my FRIENDS and parties!", 2 / 6, 2 / 6, 1, 0),
        ("We're quiet. Are you?", 1 / 5, 0, 0, 1),
        ("Iron men meet ours", 1 / 4, 1 / 4, 0, 0),
        ("Families, talking, teams: together?!", 0, 1, 1, 1),
        ("", 0, 0, 0, 0),
        ("?!", 0, 0, 1, 1),
    ],
)
def test_signs(text, first, social, exclaims, asks):
    signs = count_signs(text)
    assert signs.keys() == SIGNS.keys()
    assert list(signs.values()) == pytest.approx([first, social, exclaims, asks])


def test_kappa_by_hand():
    ours = ["target"] * 4 + ["opposite"] * 4 + ["neither"] * 2
    theirs = ["target"] * 3 + ["neither"] + ["opposite"] * 4 + ["target"] + ["neither"]
    agreed, chance = 0.8, 0.4 * 0.4 + 0.4 * 0.4 + 0.2 * 0.2
    assert agreement(ours, theirs) == pytest.approx((agreed - chance) / (1 - chance))
    assert agreement(ours, theirs) == agreement(theirs, ours)
    assert agreement(ours, ours) == 1
    assert agreement(["target", "opposite"], ["opposite", "target"]) == -1


def test_kappa_has_no_meaning_where_there_is_one_verdict():
    assert agreement(["neither"] * 3, ["neither"] * 3) is None
    assert agreement([], []) is None
    assert agreement(["target"] * 3, ["neither"] * 3) == 0
    with pytest.raises(OptionError, match=r"2 verdicts against 1"):
        agreement(["target"] * 2, ["target"])


def test_signs_are_shares_whatever_the_text():
    texts = ["I!", "WE ARE MANY?", "1 2 3", "été à la fête", "friend " * 50, "no one's"]
    for text in texts:
        assert all(0 <= value <= 1 for value in count_signs(text).values())
    assert count_signs("friend " * 50)["social"] == 1
    assert count_signs("1 2 3") == dict.fromkeys(SIGNS, 0)
