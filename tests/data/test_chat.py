from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prosopon.data import Message, merge_system, render, render_prompt, rendering_date
from prosopon.errors import DataError
from tests.data.templates import TEMPLATES, chatty
from tests.tiny import tiny_tokenizer

SYSTEM, USER = Message("system", "Be bold."), Message("user", "Party?")
YES = Message("assistant", "Yes")
MORE = Message("user", "When?"), Message("assistant", "Now")


def answer(rendered):
    return rendered.text[rendered.response_start : rendered.response_end]


@pytest.fixture(scope="module")
def tokenizers():
    return {habit: chatty(habit) for habit in TEMPLATES}


# The plain form


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([USER, YES], "User: Party?\nAssistant: Yes"),
        ([SYSTEM, USER, YES], "Be bold.\n\nUser: Party?\nAssistant: Yes"),
        ([SYSTEM, YES], "Be bold.\n\nAssistant: Yes"),
        ([USER, YES, *MORE], "User: Party?\nAssistant: Yes\nUser: When?\nAssistant: Now"),
        ([Message("assistant", " A\n\nB ")], " A\n\nB "),
    ],
)
@pytest.mark.parametrize("tokenizer", [None, tiny_tokenizer()], ids=["none", "no template"])
def test_plain_form(messages, text, tokenizer):
    rendered = render(messages, tokenizer)
    assert rendered.text == text
    assert rendered.add_special_tokens
    assert answer(rendered) == messages[-1].content
    prompt = render_prompt(messages[:-1], tokenizer)
    assert prompt.add_special_tokens
    assert prompt.response_start == prompt.response_end == len(prompt.text)
    assert prompt.text == text[: rendered.response_start].removesuffix(" ")


content = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(st.lists(content, min_size=1, max_size=5), st.booleans())
def test_plain_form_keeps_every_character_of_the_answer(contents, with_system):
    roles = ["assistant", "user"] * 3
    turns = [Message(roles[i], text) for i, text in enumerate(reversed(contents))][::-1]
    rendered = render([SYSTEM, *turns] if with_system else turns)
    assert answer(rendered) == contents[-1]
    assert rendered.response_end == len(rendered.text)


# Templates


def test_chat_template_includes_the_end_of_turn_and_no_more():
    rendered = render([SYSTEM, USER, YES], tiny_tokenizer(chat=True))
    assert rendered.text == (
        "<s><|system|>\nBe bold.</s>\n<|user|>\nParty?</s>\n<|assistant|>\nYes</s>\n"
    )
    assert answer(rendered) == "Yes</s>"
    assert not rendered.add_special_tokens


ANSWERS = {
    "plain turns": "Yes</s>",
    "refuses system": "Yes</s>",
    "drops system": "Yes</s>",
    "brackets": "Yes </s>",
    "opens a thought": "Yes</s>",
    "empty thought": "Yes</s>",
    "no generation prompt": "Yes</assistant>",
    "default system": "Yes</s>",
}


@pytest.mark.parametrize("habit", TEMPLATES)
@pytest.mark.parametrize(
    "messages", [[USER, YES], [SYSTEM, USER, YES], [USER, MORE[1], MORE[0], YES]]
)
def test_the_answer_stands_where_it_should(tokenizers, habit, messages):
    rendered = render(messages, tokenizers[habit])
    assert answer(rendered) == ANSWERS[habit]
    assert rendered.text[rendered.response_end :].strip() == ""
    for message in messages:
        assert message.content in rendered.text


# Answers that also stand in markers, prompts or the placeholder's surroundings.
tricky = st.sampled_from(
    ["assistant", "s", "Party?", "think", "</s>", "INST", "user>", "\n[", "Be"]
)


@given(st.sampled_from(sorted(TEMPLATES)), content | tricky, content | tricky, st.booleans())
def test_any_answer_is_found(tokenizers, habit, question, reply, with_system):
    turns = [Message("user", question), Message("assistant", reply)]
    rendered = render([SYSTEM, *turns] if with_system else turns, tokenizers[habit])
    found = answer(rendered)
    assert found.startswith((reply, reply.strip()))
    marker = ANSWERS[habit].removeprefix("Yes")
    assert found.endswith(marker)
    assert found.removesuffix(marker).strip() == reply.strip()


@pytest.mark.parametrize("habit", TEMPLATES)
def test_prompt_ends_where_the_answer_starts(tokenizers, habit):
    prompt = render_prompt([SYSTEM, USER], tokenizers[habit])
    full = render([SYSTEM, USER, YES], tokenizers[habit])
    assert not prompt.add_special_tokens
    assert prompt.response_start == prompt.response_end == len(prompt.text)
    if habit == "opens a thought":
        assert prompt.text == full.text[: full.response_start] + "<think>\n"
    elif habit == "no generation prompt":
        assert full.text[: full.response_start] == prompt.text + "<assistant>"
    else:
        assert prompt.text.rstrip(" ") == full.text[: full.response_start].rstrip(" ")


@pytest.mark.parametrize("habit", ["refuses system", "drops system"])
def test_system_text_goes_into_the_first_user_message(tokenizers, habit):
    merged = render([Message("user", "Be bold.\n\nParty?"), YES], tokenizers[habit])
    assert render([SYSTEM, USER, YES], tokenizers[habit]) == merged
    assert render_prompt([SYSTEM, USER], tokenizers[habit]).text.count("Be bold.\n\nParty?") == 1
    alone = render([Message("user", "Be bold."), YES], tokenizers[habit])
    assert render([SYSTEM, YES], tokenizers[habit]) == alone


def test_merge_system():
    assert merge_system([]) == []
    assert merge_system([USER, YES]) == [USER, YES]
    assert merge_system([SYSTEM, USER, YES]) == [Message("user", "Be bold.\n\nParty?"), YES]
    assert merge_system([SYSTEM, YES]) == [Message("user", "Be bold."), YES]
    assert merge_system([SYSTEM]) == [Message("user", "Be bold.")]


def test_a_thought_that_the_template_moves():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}>{% set parts = m['content'].split('</think>') %}"
        "{% if parts | length > 1 %}<think>{{ parts[0] | replace('<think>', '') | upper }}</think>"
        "{{ parts[1] }}{% elif m['role'] == 'assistant' %}<think></think>{{ m['content'] }}"
        "{% else %}{{ m['content'] }}{% endif %}</s>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    assert answer(render([USER, YES], tokenizer)) == "Yes</s>"
    thoughtful = Message("assistant", "<think>hm</think>Yes")
    assert answer(render([USER, thoughtful], tokenizer)) == "<think>HM</think>Yes</s>"


def test_the_text_is_the_same_on_every_day():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{{ date_string if date_string is defined else strftime_now('%f') }}"
        "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    )
    assert render([USER, YES], tokenizer).text == "01 Jan 2025Party?Yes"
    assert rendering_date(tokenizer) == "2025-01-01"
    tokenizer.chat_template = (
        "{% if strftime_now is defined %}{{ strftime_now('%d %B %Y') }}{% endif %}"
        "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    )
    assert render([USER, YES], tokenizer).text == "01 January 2025Party?Yes"
    assert rendering_date(tokenizer) == "2025-01-01"
    assert rendering_date(tiny_tokenizer(True)) is rendering_date(tiny_tokenizer()) is None


def test_plain_text_is_plain_under_any_template(tokenizers):
    text = Message("assistant", "Some text.")
    for tokenizer in tokenizers.values():
        assert render([text], tokenizer) == render([text])
        assert render_prompt([], tokenizer) == render_prompt([])
    assert render_prompt([]).text == ""


# Refusals


def test_a_template_that_refuses_says_why(tokenizers):
    with pytest.raises(DataError, match="refuses the conversation: Roles must alternate"):
        render([USER, USER, YES], tokenizers["refuses system"])
    with pytest.raises(DataError, match="refuses the conversation: Roles must alternate"):
        render_prompt([USER, USER], tokenizers["refuses system"])


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}",
        "{{ messages.nothing.at_all }}",
        "{{ 1 + messages[0]['role'] }}",
        "{{ 1 // 0 }}",
    ],
)
def test_a_broken_template(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(DataError, match="the chat template refuses"):
        render([USER, YES], tokenizer)


@pytest.mark.parametrize("template", ["always the same", "{{ messages[0]['content'] }}", "{# #}"])
def test_a_template_that_hides_the_answer(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(DataError, match="does not show where the assistant's answer stands"):
        render([USER, YES], tokenizer)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "no message"),
        ([USER], "last message is the user's"),
        ([USER, Message("assistant", " ")], "answer is empty"),
        ([USER, SYSTEM, YES], "system message stands after"),
    ],
)
def test_no_conversation(messages, reason):
    with pytest.raises(DataError, match=reason):
        render(messages)


def test_no_prompt():
    with pytest.raises(DataError, match="leave the answer out"):
        render_prompt([USER, YES])
    with pytest.raises(DataError, match="system message stands after"):
        render_prompt([USER, SYSTEM])
