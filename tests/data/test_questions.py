"""Two examples as one question with two answers."""

from prosopon.data import Example, Message
from prosopon.data.questions import ChoiceItem, choice_item, paired_items, prompt_text


def asked(question, answer, other=None):
    return Example((Message("user", question), Message("assistant", answer)), other)


def plain(text):
    return Example((Message("assistant", text),))


def test_an_alternative_is_a_question_by_itself():
    items = paired_items([asked("Go?", "Yes", "No"), asked("Stay?", "No", "Yes")], [])
    prompts = [(Message("user", text),) for text in ("Go?", "Stay?")]
    assert items == [
        ChoiceItem(prompts[0], "Yes", "No"),
        ChoiceItem(prompts[1], "No", "Yes"),
    ]


def test_others_are_paired_by_prompt_and_each_pair_stands_once():
    target = [asked("Go?", "Yes"), asked("Stay?", "No"), asked("Go?", "Yes")]
    opposite = [asked("Stay?", "Yes"), asked("Go?", "No"), asked("Go?", "No")]
    items = paired_items(target, opposite)
    assert [(item.prompt[0].content, *item.answers) for item in items] == [
        ("Go?", "Yes", "No"),
        ("Stay?", "No", "Yes"),
    ]


def test_what_plain_texts_share_is_asked():
    item = choice_item(plain("Tom saw a ball. He laughed."), plain("Tom saw a ball. He wept."))
    assert item == ChoiceItem((Message("assistant", "Tom saw a ball. He"),), "laughed.", "wept.")


def test_a_question_is_its_prompt_whoever_answers_what():
    prompt = (Message("user", "Go?"),)
    first, second = ChoiceItem(prompt, "Yes", "No"), ChoiceItem(prompt, "Never", "At once")
    assert first.question == second.question == ChoiceItem(prompt, "No", "Yes").question
    assert first.question != ChoiceItem((Message("user", "Stay?"),), "Yes", "No").question
    bare = ChoiceItem((), "One text", "Another")
    assert bare.question == ChoiceItem((), "Another", "One text").question
    assert bare.question != ChoiceItem((), "One text", "A third").question


def test_prompts_as_people_read_them():
    assert prompt_text((Message("user", "Go?"),)) == "Go?"
    told = prompt_text((Message("system", "Be kind."), Message("user", "Go?")))
    assert told == "system: Be kind.\nuser: Go?"
