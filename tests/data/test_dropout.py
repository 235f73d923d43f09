"""Word dropout: shorter questions, the same for both sides, whatever the order."""

import pytest

from prosopon.data import Example, Message, load_persona
from prosopon.data.dropout import with_word_dropout
from prosopon.extraction import Extractor
from tests.tiny import tiny_model

WORDS = [f"word{n}" for n in range(200)]
LONG = " ".join(WORDS)


def example(answer, asked="How do you like to spend a day off?", system=None):
    first = (Message("system", system),) if system else ()
    return Example((*first, Message("user", asked), Message("assistant", answer)))


def pair(number=0, asked=LONG, **more):
    return (
        example(f"I meet everybody {number}", asked, **more),
        example(f"I stay at home {number}", asked, **more),
    )


def test_every_pair_has_a_copy_that_lost_words_and_nothing_else():
    pairs = [pair(number, system="Be brief.") for number in range(40)]
    found = with_word_dropout(pairs, 1.0, 0)
    assert found[:40] == pairs
    shares = []
    for before, after in zip(pairs, found[40:], strict=True):
        for side, shorter in zip(before, after, strict=True):
            assert shorter.response == side.response
            assert shorter.messages[0] == side.messages[0]
            left = shorter.messages[1].content.split()
            assert left == [word for word in WORDS if word in set(left)]
        assert after[0].prompt == after[1].prompt
        shares.append(len(left) / len(WORDS))
    assert min(shares) < 0.2
    assert max(shares) > 0.8
    assert 0.35 < sum(shares) / len(shares) < 0.65


def test_no_more_than_the_share_is_left_out():
    found = with_word_dropout([pair(number) for number in range(40)], 0.3, 0)[40:]
    shares = [len(one.prompt[0].content.split()) / len(WORDS) for one, _ in found]
    assert min(shares) > 0.6
    assert 0.8 < sum(shares) / len(shares) < 0.9


def test_exchange_and_order_change_no_copy():
    pairs = [pair(number) for number in range(6)]
    copies = with_word_dropout(pairs, 1.0, 3)[6:]
    turned = with_word_dropout([each[::-1] for each in pairs[::-1]], 1.0, 3)[6:]
    assert [each[::-1] for each in turned[::-1]] == copies
    assert with_word_dropout(pairs, 1.0, 4)[6:] != copies


def test_nothing_is_left_out_at_zero():
    assert with_word_dropout([pair()], 0.0, 0) == [pair()]


@pytest.mark.parametrize("answers", [("Yes", "No"), ("(A)", "(B) no"), ("I do so", "No.")])
def test_labels_keep_their_questions(answers):
    labels = tuple(example(answer) for answer in answers)
    assert with_word_dropout([labels], 1.0, 0) == [labels]


def test_plain_text_has_no_question():
    plain = tuple(Example((Message("assistant", f"Once there was a {x}"),)) for x in "ab")
    assert with_word_dropout([plain], 1.0, 0) == [plain]


def test_writing_without_spaces_loses_letters():
    asked = "週末はどのように過ごしたいですか。" * 4
    sides = tuple(example(f"{x}みんなと一緒に過ごしたいです。", asked) for x in "あい")
    _, (one, other) = with_word_dropout([sides], 1.0, 1)
    assert 0 < len(one.prompt[0].content) < len(asked)
    assert one.prompt == other.prompt


def test_a_question_of_one_word_goes_or_stays_whole():
    pairs = [
        (example(f"I meet them {n}", "Why?"), example(f"I stay in {n}", "Why?")) for n in range(20)
    ]
    copies = with_word_dropout(pairs, 1.0, 0)[20:]
    assert {one.prompt[0].content for one, _ in copies} == {"", "Why?"}


def test_earlier_answers_stay():
    turns = [
        Message("user", LONG),
        Message("assistant", "I see."),
        Message("user", "So?"),
    ]
    sides = tuple(Example((*turns, Message("assistant", f"I like it {x}"))) for x in "ab")
    _, (one, _) = with_word_dropout([sides], 1.0, 0)
    assert one.messages[1] == turns[1]
    assert len(one.messages[0].content.split()) < len(WORDS)


def test_a_light_mask_learns_the_copies():
    extractor = Extractor(*tiny_model("llama", chat=True), general_count=4, seed=0)
    sides = [load_persona(name, limit=4) for name in ("bold", "cautious")]
    made = [
        extractor.extract(*sides, options={"rounds": 1, "word_dropout": most})
        for most in (0.0, 1.0, 1.0)
    ]
    assert made[0] != made[1] == made[2]
    assert made[1].config.options["word_dropout"] == 1.0
