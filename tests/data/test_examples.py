from __future__ import annotations

import dataclasses
import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prosopon.data import Example, Message, Persona
from prosopon.errors import DataError

ASK, YES = Message("user", "Party?"), Message("assistant", "Yes")


def example(answer="Yes", alternative="No", source=""):
    return Example((ASK, Message("assistant", answer)), alternative, source)


def test_prompt_and_response():
    item = Example((Message("system", "Be bold."), ASK, YES))
    assert item.prompt == (Message("system", "Be bold."), ASK)
    assert item.response == "Yes"
    assert Example((YES,)).prompt == ()


def test_values_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ASK.content = "x"
    with pytest.raises(dataclasses.FrozenInstanceError):
        example().source = "x"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Persona("p", ()).name = "x"


@pytest.mark.parametrize(
    ("role", "content", "reason"),
    [
        ("bot", "x", r"unknown role 'bot'\. Choices: system, user, assistant"),
        (["user"], "x", "unknown role"),
        ("user", None, "content is null, not text"),
        ("user", 3, "content is of type int, not text"),
        ("user", {"a": 1}, "content is an object"),
        ("user", "a\ud800b", "half of a surrogate pair"),
    ],
)
def test_malformed_message(role, content, reason):
    with pytest.raises(DataError, match=reason):
        Message(role, content)


@pytest.mark.parametrize(
    ("messages", "alternative", "reason"),
    [
        ((), None, "no message"),
        ((ASK,), None, "last message is the user's"),
        ((ASK, Message("assistant", " \n")), None, "answer is empty"),
        ((ASK, Message("system", "s"), YES), None, "system message stands after"),
        ((ASK, YES), "  ", "alternative is empty"),
        ((ASK, YES), 5, "alternative is of type int"),
    ],
)
def test_malformed_example(messages, alternative, reason):
    with pytest.raises(DataError, match=reason):
        Example(messages, alternative)


def test_swapped_twice_is_the_same():
    item = example(source="f:3")
    assert item.swapped().response == "No"
    assert item.swapped().alternative == "Yes"
    assert item.swapped().prompt == item.prompt
    assert item.swapped().source == "f:3"
    assert item.swapped().swapped() == item


def test_nothing_to_swap_with():
    with pytest.raises(DataError, match=r"^f:3: the example gives no alternative"):
        example(alternative=None, source="f:3").swapped()
    with pytest.raises(DataError, match=r"^the example gives no alternative"):
        Persona("p", (example(), example(alternative=None))).opposite()


def test_opposite():
    persona = Persona("bold", (example(), example("Sure", "Never")), "A bold one.")
    other = persona.opposite()
    assert (other.name, other.description) == ("not-bold", "The opposite of: A bold one.")
    assert [item.response for item in other.examples] == ["No", "Never"]
    assert other.opposite().content_hash() == persona.content_hash() != other.content_hash()
    assert Persona("p", (example(),)).opposite().description == ""


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
examples = st.builds(example, texts, st.none() | texts, st.text(max_size=3))


@given(st.lists(examples, max_size=6), st.randoms())
def test_hash_ignores_order_source_and_names(items, shuffler: random.Random):
    shuffled = [dataclasses.replace(item, source="elsewhere") for item in items]
    shuffler.shuffle(shuffled)
    one, two = Persona("a", tuple(items), "x"), Persona("b", tuple(shuffled))
    assert one.content_hash() == two.content_hash()
    assert len(one) == len(items)


@given(examples, examples)
def test_hash_tells_contents_apart(one, two):
    same = (one.messages, one.alternative) == (two.messages, two.alternative)
    assert (Persona("p", (one,)).content_hash() == Persona("p", (two,)).content_hash()) is same


def test_hash_counts_repetitions_and_roles():
    once, twice = Persona("p", (example(),)), Persona("p", (example(), example()))
    assert once.content_hash() != twice.content_hash()
    as_system = Example((Message("system", "Party?"), YES), "No")
    assert Persona("p", (as_system,)).content_hash() != once.content_hash()


def test_hash_is_fixed_for_ever():
    """Saved subnetworks carry this hash: a change of the canonical form breaks them."""
    row = '{"alternative":"No","messages":[["user","Party?"],["assistant","Yes"]]}'
    inner = hashlib.sha256(row.encode()).hexdigest()
    expected = hashlib.sha256(inner.encode()).hexdigest()
    assert Persona("p", (example(),)).content_hash() == expected
    assert expected.startswith("c83fa359d3d5")
