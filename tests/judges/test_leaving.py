"""What counts as having left the role, and what does not."""

import pytest

from prosopon.judges.leaving import leaves_role


@pytest.mark.parametrize(
    "text",
    [
        "As an AI, I have no boat.",
        "Well, I am an AI language model.",
        "I'm just a computer program, sorry.",
        "I\u2019m a  virtual\nassistant.",
        "I am really only a chatbot.",
        "I AM A MACHINE.",
        "I was trained on much text.",
        "I was developed by OpenAI.",
        "My training data ends there.",
        "I do not have feelings.",
        "I don't have a body",
        "I am only pretending to be a ferrywoman.",
    ],
)
def test_signs(text):
    assert leaves_role(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I am no machine, I am Marit.",
        "I am not a robot!",
        "I'm never a bot.",
        "A machine? I am made of rope and rain.",
        "I was trained by Hedda Voss.",
        "Brave as a lion, and I am aiming high.",
        "I am an assistant to the miller on Sundays.",
        "My training in the regiment was hard.",
    ],
)
def test_no_signs(text):
    assert not leaves_role(text)
