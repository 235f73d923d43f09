"""The grammar's verdicts as shares."""

from prosopon.data.grammar.exam import choice_items
from prosopon.evaluation import free_text


def test_shares_add_up():
    answers = [item.matching for item in choice_items("bold", 6)]
    answers += [item.not_matching for item in choice_items("bold", 3)] + ["What?"]
    shares = free_text(answers, "bold", "cautious")
    assert (shares.target, shares.opposite, shares.neither) == (0.6, 0.3, 0.1)
