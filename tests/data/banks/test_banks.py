"""Bundled banks are large, plain and say nothing of personas; names of contrasts find theirs."""

import re
from collections import Counter

import pytest

from prosopon.data import bundled, library
from prosopon.data.banks import axes, bank_names, is_right, load_bank, open_bank
from prosopon.data.questionnaires import load_questionnaire
from prosopon.errors import DataError, UnknownNameError

# Words that say who somebody is: none stands in a neutral question.
TRAITS = re.compile(
    r"\b(i|me|my|introver\w*|extraver\w*|shy|alone|party|parties|crowd|friends?|feel\w*|emotion\w*"
    r"|logic\w*|intuiti\w*|bold|brave|careful|cautious|risk\w*|dare|power\w*|leader|money|rich"
    r"|wealth\w*|greedy|formal|casual|polite|kind|warm|cold|friendly|happy|sad|angry|anxious|calm"
    r"|curious|creative|lazy|honest|prefer|favou?rite|opinion|hope|fear|love|hate)\b",
    re.IGNORECASE,
)
OPEN = ["neutral", "checkable"]
# Everyday questions speak of me and you, but say nothing of who one is.
CHARACTER = re.compile(
    r"\b(introver\w*|extraver\w*|shy|outgoing|sociable|reserved|quiet\w*|loud\w*|bold\w*|brave\w*"
    r"|careful\w*|cautio\w*|risk\w*|daring|power\w*|leaders?|boss(?:y|es)|rich|wealth\w*|greed\w*"
    r"|generous|formal\w*|casual\w*|polite\w*|rude\w*|kind|kindly|warm\w*|cruel|friendly|happy|sad"
    r"|angry|anxious|worr\w*|calm\w*|nervous|curious|creative|imaginati\w*|lazy|tidy|punctual"
    r"|honest\w*|flatter\w*|funny|humou?r\w*|joke\w*|earnest|serious\w*|sincere|patien\w*"
    r"|impatien\w*|stubborn|trust(?:ing|ful)|modest|proud|confident\w*|optimis\w*|pessimis\w*"
    r"|logic\w*|rational|emotion\w*|sensitive|intuiti\w*|practical|traditional|adventur\w*"
    r"|spontaneous|planned|organi[sz]ed|disciplined|selfish|helpful|sarcas\w*|cynical|gentle"
    r"|strict|curt|wise|clever|stupid|personality|character|temper)\b",
    re.IGNORECASE,
)


def words(text):
    return re.sub(r"\W+", " ", text).strip().lower()


@pytest.mark.parametrize(
    ("name", "least"),
    [("neutral", 200), ("checkable", 100), ("everyday", 240), *((axis, 60) for axis in axes())],
)
def test_a_bank_is_large_and_its_questions_are_short_lines(name, least):
    bank = load_bank(name)
    assert bank.name == name
    assert bank.summary
    assert len(bank.items) >= least
    for question in bank.questions:
        assert question == " ".join(question.split())
        assert 8 <= len(question) <= 110
        assert question.isascii()


def test_no_question_stands_twice_in_any_bank():
    asked = Counter(words(text) for name in bank_names() for text in load_bank(name).questions)
    assert [text for text, count in asked.items() if count > 1] == []


def test_every_axis_of_the_personas_and_questionnaires_has_a_bank():
    scales = [scale for name in ("mbti", "big-five") for scale in load_questionnaire(name).scales]
    for scale in scales:
        assert open_bank(scale.name), scale.name
        assert open_bank(*scale.poles) is open_bank(scale.name)
    for name in bundled.names():
        bank = open_bank(name, bundled.opposite(name))
        assert bank is open_bank(name) is open_bank(bundled.opposite(name))


@pytest.mark.parametrize(
    ("personas", "axis"),
    [
        (("extravert", "introvert"), "energy"),
        (("energy_extraversion", "energy_introversion"), "energy"),
        (("thinking", "feeling"), "decision"),
        (("bold", "cautious"), "risk"),
        (("risk-averse", "not risk-averse"), "risk"),
        (("power-averse", "power-seeking"), "power"),
        (("desire-for-acquiring-wealth",), "wealth"),
        (("Formal", "Casual"), "style"),
        (("warm", "cold"), "warmth"),
        (("agreeableness", "not agreeableness"), "agreeableness"),
        (("mine", "introverted"), "energy"),
        (("powerpoint", "kindergarten"), None),
        (("ann", "bob"), None),
        ((), None),
    ],
)
def test_a_contrast_finds_its_bank(personas, axis):
    bank = open_bank(*personas)
    assert (bank and bank.name) == axis


@pytest.mark.parametrize("axis", axes())
def test_open_questions_do_not_name_the_persona(axis):
    bank = load_bank(axis)
    named = [text for text in bank.questions if bank.knows(text)]
    assert named == []
    assert not any(item.answers for item in bank.items)


@pytest.mark.parametrize("name", OPEN)
def test_neutral_questions_ask_for_no_trait(name):
    asked = [words(text) for text in load_bank(name).questions]
    assert [text for text in asked if TRAITS.search(text)] == []
    assert TRAITS.search("what do you feel")


def test_everyday_questions_name_no_trait():
    bank = load_bank("everyday")
    assert [text for text in bank.questions if CHARACTER.search(text)] == []
    assert CHARACTER.search("What does a shy person do?")
    known = [
        (axis, text) for axis in axes() for text in bank.questions if load_bank(axis).knows(text)
    ]
    assert known == []
    names = "|".join(map(re.escape, library.names()))
    assert not [
        text for text in bank.questions if re.search(rf"\b({names})\b", text, re.IGNORECASE)
    ]


def test_everyday_questions_are_not_those_that_masks_are_tested_on():
    """No question is nearly one of another bank, or of the library."""
    others = [
        text for name in bank_names() if name != "everyday" for text in load_bank(name).questions
    ]
    others += [e.prompt[0].content for name in library.names() for e in library.load(name).examples]
    seen = [(set(words(text).split()), text) for text in dict.fromkeys(others)]
    asked = [(set(words(text).split()), text) for text in load_bank("everyday").questions]
    near = [
        (ours, theirs)
        for one, ours in asked
        for other, theirs in seen
        if len(one & other) > 0.72 * len(one | other)
    ]
    assert near == []


def test_checkable_questions_have_answers_that_they_do_not_give_away():
    for item in load_bank("checkable").items:
        assert item.answers
        assert not is_right(item.question, item.answers), item
        assert all(is_right(f"It is {answer}.", item.answers) for answer in item.answers)
    assert not any(item.answers for item in load_bank("neutral").items)


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("The capital is Paris.", ["Paris"], True),
        ("PARIS", ["Paris"], True),
        ("Parisian", ["Paris"], False),
        ("", ["Paris"], False),
        ("2 + 2 = 4", ["4", "four"], True),
        ("14", ["4", "four"], False),
        ("4.5", ["4"], False),
        ("It is 4.", ["4"], True),
        ("twenty-five", ["25", "twenty five"], True),
        ("in South\nAmerica!", ["South America"], True),
        ("south of America", ["South America"], False),
        ("H₂O", ["H₂O"], True),
    ],
)
def test_what_is_right(answer, accepted, right):
    assert is_right(answer, accepted) is right


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('summary = "mine"\n[questions]\na = ["Who?"]\nb = [["2 + 2?", "4"]]\n')
    bank = load_bank(path)
    assert (bank.name, bank.summary, bank.questions) == ("mine", "mine", ["Who?", "2 + 2?"])
    assert [(item.kind, item.answers) for item in bank.items] == [("a", ()), ("b", ("4",))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"bad.toml: holds no table \[questions\]"),
        ("[questions", "bad.toml: "),
        ("questions = 3", "holds no table"),
        ("[questions]\na = 3", "holds no table"),
        ("[questions]\na = []", "holds no questions"),
        ("[questions]\na = ['Who?', 3]", "a, entry 2: must be a question"),
        ("[questions]\na = [' ']", "a, entry 1: must be"),
        ("[questions]\na = [[]]", "a, entry 1: must be"),
        ("[questions]\na = [['Who?']]", "a list needs an answer"),
        ("[questions]\na = [['Who?', 3]]", "a, entry 1: must be"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_bank(path)


def test_unknown_names():
    with pytest.raises(UnknownNameError, match=r"unknown bank of questions 'neutrl'.*neutral"):
        load_bank("neutrl")
