"""Pairing: same prompt first, the rest in order, nobody left out."""

from prosopon.data import Example, Message, pair_examples


def example(asked, told):
    return Example((Message("user", asked), Message("assistant", told)))


def test_same_prompts_pair_whatever_the_order():
    ours = [example("a", "1"), example("b", "2"), example("a", "3")]
    theirs = [example("b", "x"), example("a", "y"), example("a", "z")]
    pairs = [(a.response, b.response) for a, b in pair_examples(ours, theirs)]
    assert pairs == [("1", "y"), ("2", "x"), ("3", "z")]


def test_unmatched_pair_in_order_and_the_shorter_side_repeats():
    ours = [example("a", "1"), example("p", "2"), example("q", "3"), example("r", "4")]
    theirs = [example("x", "u"), example("a", "v"), example("y", "w")]
    pairs = [(a.response, b.response) for a, b in pair_examples(ours, theirs)]
    assert pairs == [("1", "v"), ("2", "u"), ("3", "w"), ("4", "u")]


def test_left_over_of_one_side_only_uses_the_other_again():
    ours = [example("a", "1")]
    theirs = [example("a", "x"), example("b", "y"), example("c", "z")]
    pairs = [(a.response, b.response) for a, b in pair_examples(ours, theirs)]
    assert pairs == [("1", "x"), ("1", "y"), ("1", "z")]


def test_exchange_exchanges_the_pairs():
    ours = [example(str(i % 3), f"o{i}") for i in range(5)]
    theirs = [example(str(i % 4), f"t{i}") for i in range(7)]
    ahead = {(a.response, b.response) for a, b in pair_examples(ours, theirs)}
    back = {(b.response, a.response) for a, b in pair_examples(theirs, ours)}
    assert ahead == back
