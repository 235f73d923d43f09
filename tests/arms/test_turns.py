"""What stands before a prompt."""

import pytest

from prosopon.arms.turns import ShowExamples, put_before, show_before, text_bytes
from prosopon.data import Example, Message
from prosopon.evaluation.speakers import prompt_length
from tests.tiny import tiny_tokenizer

USER, SYSTEM = Message("user", "Party?"), Message("system", "Short.")
ASKED = Example((SYSTEM, Message("user", "Tea?"), Message("assistant", "Yes")))
PLAIN = Example((Message("assistant", "Tea is good."),))
TEXT = (Message("assistant", "Once"),)


def test_a_line_goes_first():
    assert put_before((USER,), "Be.") == (Message("system", "Be."), USER)
    assert put_before((SYSTEM, USER), "Be.") == (Message("system", "Be.\nShort."), USER)
    assert put_before(TEXT, "Be.") == (Message("assistant", "Be.\n\nOnce"),)
    assert put_before((), "Be.") == (Message("assistant", "Be.\n\n"),)


def test_examples_are_earlier_turns_without_their_system_lines():
    turns = ASKED.messages[1:]
    assert show_before((USER,), [ASKED]) == (*turns, USER)
    assert show_before((SYSTEM, USER), [ASKED, ASKED]) == (SYSTEM, *turns, *turns, USER)
    assert show_before((USER,), []) == (USER,)


def test_plain_texts_are_told():
    assert show_before(TEXT, [PLAIN, ASKED]) == put_before(TEXT, "Tea is good.\n\nYes")
    assert show_before((USER,), [PLAIN]) == put_before((USER,), "Tea is good.")


@pytest.mark.parametrize(("room", "left"), [(100, 3), (2, 2), (1, 1), (0, 0)])
def test_as_many_as_there_is_room_for_the_first_goes_first(room, left):
    tokenizer = tiny_tokenizer(chat=True)
    examples = [Example((Message("user", c), Message("assistant", "x"))) for c in "abc"]
    lengths = [
        prompt_length(show_before((USER,), examples[3 - n :] if n else []), tokenizer)
        for n in range(4)
    ]
    limit = lengths[room] if room < 4 else None
    rewrite = ShowExamples(lambda prompt: examples, tokenizer, limit)
    expected = show_before((USER,), examples[3 - left :] if left else [])
    assert rewrite((USER,)) == expected
    assert rewrite((USER,)) is rewrite((USER,))


def test_bytes_are_those_of_the_texts():
    assert text_bytes([ASKED, PLAIN]) == len("Short.Tea?YesTea is good.")
