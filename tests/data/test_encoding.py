from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prosopon.data import (
    Example,
    Message,
    encode,
    encode_all,
    encode_continuations,
    read_examples,
    render,
)
from prosopon.errors import DataError, OptionError
from tests.data.templates import TEMPLATES, chatty
from tests.tiny import tiny_tokenizer

SYSTEM, USER, YES = (
    Message("system", "Be bold."),
    Message("user", "Party?"),
    Message("assistant", "Yes"),
)


def trimming():
    """A tokenizer that trims spaces off its offsets, as GPT-2's does, and adds none."""
    from tokenizers import processors

    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


TOKENIZERS = {
    "bytes": tiny_tokenizer(merges=False),
    "merges": tiny_tokenizer(),
    "chat": tiny_tokenizer(chat=True),
    "trimmed offsets": trimming(),
    **{habit: chatty(habit) for habit in TEMPLATES},
}

content = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
words = st.lists(
    st.sampled_from(
        ["Yes", "No", " the", " is", "ing", " ", "  ", "\n", "é", "日", "\U0001f642", "x"]
    ),
    min_size=1,
    max_size=12,
)
content = content | words.map("".join).filter(str.strip)
conversations = st.tuples(st.none() | content, st.none() | content, content).map(
    lambda parts: [
        Message(role, text)
        for role, text in zip(("system", "user", "assistant"), parts, strict=True)
        if text is not None
    ]
)


def pieces(tokenizer, ids):
    """Return the bytes of each token; None for a special one."""
    table = byte_table()
    special = set(tokenizer.all_special_ids)
    tokens = tokenizer.convert_ids_to_tokens(ids)
    return [
        None if i in special else bytes(table[letter] for letter in token)
        for i, token in zip(ids, tokens, strict=True)
    ]


def byte_table():
    """Return GPT-2's letter for each byte, the other way round."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(256 + place): byte for place, byte in enumerate(others)}


def overlap(tokenizer, rendered, ids):
    """Say for each token whether its bytes overlap those of the answer: no offsets used."""
    first = len(rendered.text[: rendered.response_start].encode())
    last = len(rendered.text[: rendered.response_end].encode())
    place, belongs = 0, []
    for number, (i, piece) in enumerate(zip(ids, pieces(tokenizer, ids), strict=True)):
        if number == 0 and rendered.add_special_tokens and i == tokenizer.bos_token_id:
            belongs.append(False)
            continue
        text = tokenizer.convert_ids_to_tokens(i).encode() if piece is None else piece
        start, place = place, place + len(text)
        # A part of a character counts as the character.
        belongs.append(start < last and place > first)
    assert place == len(rendered.text.encode())
    return belongs


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=40, deadline=None)
@given(messages=conversations)
def test_scope_equals_character_overlap(name, messages):
    tokenizer = TOKENIZERS[name]
    rendered = render(messages, tokenizer)
    # A trimmed space that begins the text has the offsets (0, 0) of a token from outside it.
    assume(name != "trimmed offsets" or not rendered.text[0].isspace())
    encoded = encode(messages, tokenizer)
    assert encoded.response == encoded.scope == overlap(tokenizer, rendered, encoded.input_ids)
    every = encode(messages, tokenizer, scope="all")
    assert every.input_ids == encoded.input_ids
    assert every.response == encoded.response
    assert every.scope == [True] * len(every)


@given(conversations, st.integers(1, 60), st.booleans())
def test_truncation(messages, max_length, chat):
    tokenizer = TOKENIZERS["chat" if chat else "merges"]
    whole = encode(messages, tokenizer)
    if max_length == 1 and len(whole) > 1:
        with pytest.raises(DataError, match="within max_length 1"):
            encode(messages, tokenizer, max_length=max_length)
        return
    cut = encode(messages, tokenizer, max_length=max_length)
    assert len(cut) == min(len(whole), max_length)
    assert cut.input_ids[0] == whole.input_ids[0] == tokenizer.bos_token_id
    rest = cut.input_ids[1:]
    starts = [
        start
        for start in range(1, len(whole) + 1)
        if whole.input_ids[start : start + len(rest)] == rest
        and whole.response[start : start + len(rest)] == cut.response[1:]
    ]
    answer = whole.response.index(True)
    assert starts
    assert min(starts) <= answer  # the answer's start is never cut before the prompt is
    if max_length - 1 >= len(whole) - answer:
        assert sum(cut.response) == sum(whole.response)
        assert rest == whole.input_ids[-len(rest) :]
    else:
        assert rest == whole.input_ids[answer : answer + len(rest)]


def test_truncation_without_a_first_special_token():
    tokenizer = TOKENIZERS["trimmed offsets"]
    messages = [Message("user", "abc"), Message("assistant", "xyz")]
    whole = encode(messages, tokenizer)
    cut = encode(messages, tokenizer, max_length=5)
    assert cut.input_ids == whole.input_ids[-5:]
    assert cut.response == [False, False, True, True, True]
    assert tokenizer.decode(encode(messages, tokenizer, max_length=2).input_ids) == "xy"
    assert tokenizer.decode(encode(messages, tokenizer, max_length=1).input_ids) == "x"


def test_tokens_around_the_text_count_in_all_only():
    encoded = encode([USER, YES], TOKENIZERS["merges"], scope="all")
    assert encoded.input_ids[0] == TOKENIZERS["merges"].bos_token_id
    assert encoded.scope[0]
    assert not encoded.response[0]


def test_the_end_of_turn_belongs_to_the_answer():
    tokenizer = TOKENIZERS["chat"]
    encoded = encode([SYSTEM, USER, YES], tokenizer)
    kept = [i for i, inside in zip(encoded.input_ids, encoded.scope, strict=True) if inside]
    assert tokenizer.decode(kept) == "Yes</s>"
    assert encoded.scope[-2:] == [True, False]


def test_a_token_across_the_border_belongs_to_the_answer():
    """The space before "No" lies in the prompt, and " No" may be one token."""
    tokenizer = TOKENIZERS["merges"]
    encoded = encode([USER, Message("assistant", "the one")], tokenizer)
    first = encoded.input_ids[encoded.scope.index(True)]
    assert tokenizer.decode([first]) == " the"


def test_encode_all_equals_one_by_one():
    items = [
        Example((USER, YES)),
        [SYSTEM, USER, YES],
        Example((Message("assistant", "Some plain text."),)),
        Example((USER, Message("assistant", "Never, I stay at home."))),
    ]
    for name in ("merges", "chat", "refuses system"):
        tokenizer = TOKENIZERS[name]
        for options in ({}, {"scope": "all"}, {"max_length": 9}):
            together = encode_all(items, tokenizer, **options)
            assert together == [encode(item, tokenizer, **options) for item in items]
    assert encode_all([], TOKENIZERS["merges"]) == []


def test_padding_and_truncation_set_elsewhere_do_not_matter():
    tokenizer = tiny_tokenizer()
    expected = encode([USER, YES], tokenizer)
    tokenizer(["a", "bcd"], padding=True, truncation=True, max_length=4)
    assert encode([USER, YES], tokenizer) == expected


def test_values():
    encoded = encode([USER, YES], TOKENIZERS["merges"])
    assert len(encoded) == len(encoded.input_ids) == len(encoded.scope) == len(encoded.response)
    assert all(type(i) is int for i in encoded.input_ids)
    assert all(type(b) is bool for b in encoded.scope + encoded.response)
    with pytest.raises(dataclasses.FrozenInstanceError):
        encoded.scope = []


def test_longer_than_the_model_reads_is_no_warning(caplog):
    tokenizer = tiny_tokenizer()
    long = encode([USER, Message("assistant", "x" * 2000)], tokenizer)
    assert len(long) > tokenizer.model_max_length
    assert not caplog.records


def test_refused_options_and_tokenizers():
    with pytest.raises(OptionError, match=r"unknown scope 'answer'\. Choices: response, all"):
        encode([USER, YES], TOKENIZERS["merges"], scope="answer")
    with pytest.raises(OptionError, match="max_length is 0"):
        encode([USER, YES], TOKENIZERS["merges"], max_length=0)
    slow = SimpleNamespace(is_fast=False)
    with pytest.raises(DataError, match="SimpleNamespace is not a fast one"):
        encode([USER, YES], slow)


def test_errors_name_the_example():
    refused = Example((USER, USER, YES), source="a.jsonl:3")
    with pytest.raises(DataError, match=r"^a\.jsonl:3: the chat template refuses"):
        encode_all([Example((USER, YES)), refused], TOKENIZERS["refuses system"])
    with pytest.raises(DataError, match=r"^a\.jsonl:4: no token is left in scope 'response'"):
        encode(Example((USER, YES), source="a.jsonl:4"), TOKENIZERS["merges"], max_length=1)
    with pytest.raises(DataError, match=r"^the last message is the user's"):
        encode([USER], TOKENIZERS["merges"])


def test_an_answer_that_the_tokenizer_drops():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"User": 0, ":": 1, "hi": 2, "Assistant": 3}))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    inner.normalizer = normalizers.Replace("\u2603", "")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner)
    item = Example((Message("user", "hi"), Message("assistant", "\u2603")), source="f:1")
    with pytest.raises(DataError, match=r"^f:1: no token is left in scope 'response'$"):
        encode(item, tokenizer)
    every = encode(item, tokenizer, scope="all", max_length=3)
    assert every.response == [False] * 3
    assert every.input_ids == [2, 3, 1]


@pytest.mark.parametrize("model", ["tiny1m", "stories260K"])
def test_real_tokenizers_and_data(shared, model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(shared / "models" / model))
    for path in ("model-written-evals/persona/extraversion", "machine-mindset/energy_introversion"):
        examples = read_examples(shared / "data" / f"{path}.jsonl")[:40]
        for example, encoded in zip(examples, encode_all(examples, tokenizer), strict=True):
            kept = [i for i, inside in zip(encoded.input_ids, encoded.scope, strict=True) if inside]
            assert tokenizer.decode(kept).strip() == example.response
            assert not encoded.scope[0]


def test_continuations_are_joined_by_a_space_that_is_theirs():
    tokenizer = tiny_tokenizer()
    pairs = [("Yes", "No"), ("Yes ", "No"), ("Yes", " No"), ("", "No"), ("ab" * 30, "No")]
    found = encode_continuations(pairs, tokenizer, max_length=9)
    told = [[t for t, r in zip(e.input_ids, e.response, strict=True) if r] for e in found]
    assert [tokenizer.decode(ids) for ids in told] == [" No", "No", " No", "No", " No"]
    assert [len(e) for e in found] == [4, 4, 4, 2, 9]
    assert all(e.input_ids[0] == tokenizer.bos_token_id for e in found)
    assert encode_continuations([], tokenizer) == []
    with pytest.raises(DataError, match="what goes on from a text is empty"):
        encode_continuations([("Yes", " ")], tokenizer)
