"""The text of a row while it is written: pieces, stop strings, spaces, broken characters."""

from __future__ import annotations

import itertools

import pytest

from prosopon.serving.transcript import Transcript
from tests.tiny import tiny_tokenizer


class Words:
    """A tokenizer of a few words."""

    words = ("Hel", "lo", " wor", "ld", ".", "\n", " a", "ab", "b")

    def decode(self, tokens, skip_special_tokens=False):
        return "".join(self.words[token] for token in tokens)


def tokens(text):
    tokenizer = tiny_tokenizer()
    return tokenizer, tokenizer(text, add_special_tokens=False)["input_ids"]


def pieces(transcript, row):
    """Return the pieces until it stops."""
    result = []
    for token in row:
        result.append(transcript.push(token))
        if transcript.stopped:
            return result
    return [*result, transcript.end()]


def test_pieces_make_up_the_text():
    parts = pieces(Transcript(Words(), (), 8), [0, 1, 2, 3, 4])
    assert parts == ["Hel", "lo", " wor", "ld", ".", ""]


@pytest.mark.parametrize(
    ("stop", "shown"),
    [
        (["lo wor"], ["He", "l", ""]),  # across two tokens
        (["l"], ["He"]),  # inside the first one
        (["ld."], ["He", "llo", " wor", "", ""]),
        (["ldx"], ["He", "llo", " wor", "", "ld.", ""]),  # began, and did not come
        (["zz", " wor", "lo"], ["He", "l"]),  # the earliest of several
        (["d.."], ["Hel", "lo", " wor", "l", "", "d."]),  # waited for it to the end
    ],
)
def test_a_stop_string_ends_the_text_before_it(stop, shown):
    assert pieces(Transcript(Words(), stop, 8), [0, 1, 2, 3, 4]) == shown


def test_of_two_stops_in_one_token_the_earlier_ends():
    for stops in itertools.permutations(["l", "el"]):
        assert pieces(Transcript(Words(), stops, 8), [0]) == ["H"]


def test_no_piece_ever_shows_a_part_of_a_stop():
    """Against the slow way: cut the whole text."""
    row = [7, 7, 8, 6, 7, 8, 8, 5, 6, 7]
    whole = Words().decode(row)
    for length, start in itertools.product(range(1, 6), range(len(whole) - 6)):
        stop = whole[start : start + length]
        transcript = Transcript(Words(), [stop], 8)
        assert "".join(pieces(transcript, row)) == whole[: whole.index(stop)]
        assert transcript.stopped


def test_an_answer_of_a_chat_is_trimmed_at_both_ends():
    parts = pieces(Transcript(Words(), (), None), [5, 6, 5, 5, 8, 5])
    assert parts == ["", "a", "", "", "\n\nb", "", ""]
    assert pieces(Transcript(Words(), (), None), [5, 5]) == ["", "", ""]


def test_a_stop_in_the_trimmed_beginning_counts():
    transcript = Transcript(Words(), ["\n"], None)
    assert pieces(transcript, [5, 0]) == [""]
    assert transcript.stopped


def test_half_a_character_waits_for_its_other_half():
    tokenizer, row = tokens("é€x")
    assert len(row) == 6
    parts = pieces(Transcript(tokenizer, (), 70), row)
    assert parts == ["", "é", "", "", "€", "x", ""]
    assert pieces(Transcript(tokenizer, (), 70), row[:1]) == ["", "\ufffd"]


def test_a_space_at_the_beginning_of_a_continuation_stays():
    tokenizer, row = tokens(" the end")
    before = tokens("a")[1][-1]
    assert "".join(pieces(Transcript(tokenizer, (), before), row)) == " the end"
    assert "".join(pieces(Transcript(tokenizer, (), None), row)) == "the end"


def test_special_tokens_are_no_text():
    tokenizer, row = tokens("ab")
    parts = pieces(Transcript(tokenizer, (), 1), [row[0], tokenizer.bos_token_id, row[1]])
    assert "".join(parts) == "ab"
