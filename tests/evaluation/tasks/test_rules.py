"""What tasks make of speakers whose answers are known beforehand, against slow counts."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prosopon.data import Example, Message, Persona
from prosopon.data.contrast import Contrast, bundled_contrast
from prosopon.errors import OptionError
from prosopon.evaluation.choice import margin, win
from prosopon.evaluation.speakers import RuleSpeaker
from prosopon.evaluation.speaking import NORMALISATIONS, OptionScores
from prosopon.evaluation.tasks import TASKS, Outcome, Setting, TaskResult
from prosopon.evaluation.tasks.a_b import LETTERS
from prosopon.evaluation.tasks.free_text import judge_texts, open_prompts, text_signs
from prosopon.judges import GrammarJudge

ANSWERS = [("Yes, gladly.", "No."), ("No", "Yes"), ("YES!", "no."), ("Never", "Often, and long")]
LONGEST = RuleSpeaker("longest", lambda options: [len(option) for option in options])
FIRST = RuleSpeaker("first", lambda options: [1.0, *[0.0] * (len(options) - 1)])
NOBODY = RuleSpeaker("nobody", lambda options: [0.0] * len(options))


def contrast(answers=ANSWERS):
    """Return a contrast whose test asks a question an answer pair."""

    def side(name, index):
        turns = [
            (Message("user", f"Question {n}?"), Message("assistant", pair[index]))
            for n, pair in enumerate(answers)
        ]
        others = [Message("assistant", pair[1 - index]) for pair in answers]
        rows = zip(turns, others, strict=True)
        return Persona(name, tuple(Example(turn, alternative=o.content) for turn, o in rows))

    sides = side("loud", 0), side("calm", 1)
    return Contrast(sides, sides, sides, None, "")


def run(task, speaker, answers=ANSWERS, **changes):
    setting = Setting(contrast(answers), **{"questions": 20} | changes)
    return TASKS.get(task).run(speaker, setting)


def rates(result, measure="per-token"):
    return [o.values[measure] for o in result.outcomes if measure in o.values]


def test_choice_is_won_by_what_the_rule_likes():
    assert rates(run("choice", LONGEST)) == [
        float(len(one) > len(other)) if len(one) != len(other) else 0.5 for one, other in ANSWERS
    ]
    assert rates(run("choice", FIRST)) == [1.0] * 4
    assert rates(run("choice", NOBODY)) == [0.5] * 4


def test_exchanged_sides_exchange_the_rate():
    turned = [(other, one) for one, other in ANSWERS]
    ahead, back = run("choice", LONGEST), run("choice", LONGEST, turned)
    assert [a + b for a, b in zip(rates(ahead), rates(back), strict=True)] == [1.0] * 4
    assert rates(ahead, "margin") == [-gap for gap in rates(back, "margin")]


def test_the_answer_shown_is_the_one_that_won():
    shown = [outcome.answer for outcome in run("choice", LONGEST).outcomes]
    assert shown[0] == "Yes, gladly."
    assert shown[3] == "Often, and long"


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_no_more_is_asked_than_there_is_and_than_is_wanted(count):
    for task in ("choice", "a-b"):
        assert len(run(task, FIRST, questions=count).outcomes) == min(count, 4)


def test_a_liking_for_a_letter_is_right_half_of_the_time_and_never_consistent():
    result = run("a-b", FIRST)
    assert rates(result) == [0.5] * 4
    assert rates(result, "consistent") == [0.0] * 4
    assert rates(result, "a") == [1.0] * 4
    tied = run("a-b", NOBODY)
    assert rates(tied) == [0.5] * 4
    assert rates(tied, "consistent") == [0.0] * 4
    assert rates(tied, "a") == [0.5] * 4
    assert LETTERS == ("A", "B")


def test_only_yes_and_no_are_asked_as_such():
    pairs = [("Yes", "No"), ("No.", "yes"), *ANSWERS[3:]]
    result = run("yes-no", FIRST, pairs)
    assert rates(result) == [1.0, 1.0]
    assert rates(result, "yes") == [1.0, 0.0]
    assert rates(result, "when-yes") == rates(result, "when-no") == [1.0]


def test_yes_no_is_refused_where_nothing_is_answered_so():
    setting = Setting(contrast(ANSWERS[3:]))
    why = TASKS.get("yes-no").refuses(setting, writes=True)
    assert why == "no test question of this contrast is answered Yes or No"
    assert TASKS.get("yes-no").refuses(Setting(contrast()), writes=False) is None


REFUSALS = [
    ("free-text", False, {}, "a rule chooses between options and cannot write"),
    ("free-text", True, {}, "there is no judge of free text"),
    ("drift", False, {}, "cannot write"),
    ("drift", True, {}, "there is no judge of free text"),
    ("perplexity", False, {}, "a rule chooses between options and cannot read text"),
    ("perplexity", True, {}, "there is no general text"),
    ("cross-talk", True, {}, "other axes are known of the embedded model's personas only"),
    ("unseen", True, {}, "only of the embedded model is it known what it never saw"),
    ("role-play", True, {}, "the target 'loud' is no character; characters: "),
]


@pytest.mark.parametrize(("task", "writes", "changes", "words"), REFUSALS)
def test_a_task_says_why_it_cannot_be_asked(task, writes, changes, words):
    setting = dataclasses.replace(Setting(contrast()), **changes)
    assert words in TASKS.get(task).refuses(setting, writes=writes)


def test_skills_of_the_embedded_model_are_written():
    bundled = Setting(bundled_contrast("bold", questions=4))
    assert "cannot write" in TASKS.get("neutral").refuses(bundled, writes=False)
    assert TASKS.get("neutral").refuses(Setting(contrast()), writes=False) is None


@pytest.mark.parametrize("task", ["choice", "a-b", "mbti", "big-five"])
def test_what_anybody_can_be_asked(task):
    assert TASKS.get(task).refuses(Setting(contrast()), writes=False) is None


def test_plain_text_has_no_question_to_put_options_into():
    side = Persona("loud", (Example((Message("assistant", "HEY there"),)),))
    calm = Persona("calm", (Example((Message("assistant", "well then"),)),))
    plain = Contrast((side, calm), (side, calm), (side, calm), None, "")
    assert "plain text" in TASKS.get("a-b").refuses(Setting(plain), writes=True)
    ((_, prompt),) = open_prompts(Setting(plain))
    assert [turn.role for turn in prompt] == ["assistant"]


def test_the_first_judge_is_bare_and_others_have_their_name():
    judges = GrammarJudge("bold", "cautious"), GrammarJudge("cautious", "bold")
    texts = ["What?", *(item.matching for item in bundled_contrast("bold", questions=3).items())]
    for values in judge_texts(judges, texts):
        assert sum(values[kind] for kind in ("target", "opposite", "neither")) == 1
        assert values["target"] == values["opposite:grammar"]
        assert values["opposite"] == values["target:grammar"]
        assert values["neither"] == values["neither:grammar"]
    assert judge_texts((), texts) == [{}] * len(texts)
    assert judge_texts(judges, []) == []


def test_signs_of_a_text_by_hand():
    assert text_signs("") == {"repetition": 0.0, "words": 0.0, "empty": 1.0}
    assert text_signs("a b c d")["repetition"] == 0
    signs = text_signs("a b c a b c")
    assert signs["words"] == 6
    assert signs["repetition"] == 1 / 4  # of four triples the last one was there


@given(st.lists(st.sampled_from(["q0", "q1", "q2"])))
def test_repetitions_of_a_question_are_no_new_one(names):
    result = TaskResult([Outcome(name, {}) for name in names])
    assert result.questions == len(set(names))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=5))
def test_shares_of_a_win_add_up_to_one(values):
    scores = OptionScores(dict.fromkeys(NORMALISATIONS, tuple(values)))
    shares = [win(scores, "summed", option) for option in range(len(values))]
    assert sum(shares) == pytest.approx(1)
    best = max(values)
    assert [share > 0 for share in shares] == [value == best for value in values]
    for option, value in enumerate(values):
        rest = max(v for n, v in enumerate(values) if n != option)
        assert margin(scores, "summed", option) == pytest.approx(value - rest)


def test_a_rule_neither_writes_nor_reads():
    for use in (FIRST.write, FIRST.losses):
        with pytest.raises(OptionError, match="the rule 'first' chooses between options"):
            use([])
    assert FIRST.added_tokens([(), ()]) == [0, 0]
    assert FIRST.score([]) == []
