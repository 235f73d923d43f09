"""What stands before a prompt."""

import pytest

from prosopon.arms.turns import ShowExamples, shown_before, text_bytes, told_before
from prosopon.data import Example, Message
from prosopon.evaluation.speakers import prompt_length
from tests.tiny import tiny_tokenizer

USER, SYSTEM = Message("user", "Party?"), Message("system", "Short.")
ASKED = Example((SYSTEM, Message("user", "Tea?"), Message("assistant", "Yes")))
PLAIN = Example((Message("assistant", "Tea is good."),))
TEXT = (Message("assistant", "Once"),)


def test_a_line_goes_first():
    assert told_before((USER,), "Be.") == (Message("system", "Be."), USER)
    assert told_before((SYSTEM, USER), "Be.") == (Message("system", "Be.\nShort."), USER)
    assert told_before(TEXT, "Be.") == (Message("assistant", "Be.\n\nOnce"),)
    assert told_before((), "Be.") == (Message("assistant", "Be.\n\n"),)


def test_examples_are_earlier_turns_without_their_system_lines():
    turns = ASKED.messages[1:]
    assert shown_before((USER,), [ASKED]) == (*turns, USER)
    assert shown_before((SYSTEM, USER), [ASKED, ASKED]) == (SYSTEM, *turns, *turns, USER)
    assert shown_before((USER,), []) == (USER,)


def test_plain_texts_are_told():
    assert shown_before(TEXT, [PLAIN, ASKED]) == told_before(TEXT, "Tea is good.\n\nYes")
    assert shown_before((USER,), [PLAIN]) == told_before((USER,), "Tea is good.")


@pytest.mark.parametrize(("room", "left"), [(100, 3), (2, 2), (1, 1), (0, 0)])
def test_as_many_as_there_is_room_for_the_first_goes_first(room, left):
    tokenizer = tiny_tokenizer(chat=True)
    examples = [Example((Message("user", c), Message("assistant", "x"))) for c in "abc"]
    lengths = [
        prompt_length(shown_before((USER,), examples[3 - n :] if n else []), tokenizer)
        for n in range(4)
    ]
    limit = lengths[room] if room < 4 else None
    rewrite = ShowExamples(lambda prompt: examples, tokenizer, limit)
    expected = shown_before((USER,), examples[3 - left :] if left else [])
    assert rewrite((USER,)) == expected
    assert rewrite((USER,)) is rewrite((USER,))


def test_bytes_are_those_of_the_texts():
    assert text_bytes([ASKED, PLAIN]) == len("Short.Tea?YesTea is good.")
