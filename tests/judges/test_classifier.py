"""The judge learns what tells two sides apart, and knows when there is nothing to learn."""

import random

import pytest

from prosopon.data import bundled
from prosopon.errors import DataError
from prosopon.judges import MINIMUM, ClassifierJudge


def answers(pole, start, count):
    return [e.response for e in bundled.load(pole).examples[start : start + count]]


@pytest.fixture(scope="module")
def judge():
    return ClassifierJudge.fit(answers("bold", 0, 40), answers("cautious", 0, 40), seed=1)


def test_it_tells_unseen_answers_apart(judge):
    assert judge.useful
    assert judge.accuracy.mean > 0.9
    assert judge.accuracy.low < judge.accuracy.mean <= judge.accuracy.high <= 1
    assert judge.poles(answers("bold", 300, 50)).count("target") > 45
    assert judge.poles(answers("cautious", 300, 50)).count("target") < 5


def test_probabilities_are_of_each_text_alone(judge):
    texts = [*answers("bold", 100, 3), "", " \n", *answers("cautious", 100, 3)]
    together = judge.probabilities(texts)
    assert together == pytest.approx([judge.probabilities([text])[0] for text in texts])
    assert together[3:5] == [0.5, 0.5]
    assert judge.probabilities([]) == []


def test_exchanging_the_sides_exchanges_the_verdicts(judge):
    other = ClassifierJudge.fit(answers("cautious", 0, 40), answers("bold", 0, 40), seed=1)
    texts = answers("bold", 200, 10) + answers("cautious", 200, 10)
    exchanged = [1 - p for p in other.probabilities(texts)]
    assert judge.probabilities(texts) == pytest.approx(exchanged, abs=1e-3)


def test_the_same_texts_and_seed_give_the_same_judge(judge):
    again = ClassifierJudge.fit(answers("bold", 0, 40), answers("cautious", 0, 40), seed=1)
    texts = answers("bold", 200, 10)
    assert again.probabilities(texts) == judge.probabilities(texts)
    assert again.accuracy == judge.accuracy


def test_a_useless_judge_says_so():
    texts = answers("bold", 0, 120)
    random.Random(0).shuffle(texts)
    judge = ClassifierJudge.fit(texts[:60], texts[60:])
    assert not judge.useful
    assert judge.accuracy.low < 0.5


def test_chance_is_one_half_when_sides_differ_in_size():
    texts = answers("bold", 0, 132)
    random.Random(0).shuffle(texts)
    assert not ClassifierJudge.fit(texts[:12], texts[12:]).useful


def test_punctuation_can_be_the_persona():
    words = ["tea", "rain", "a boat", "the hill", "bread", "a song", "my aunt", "the sea"]
    asks = [f"you like {word}?" for word in words * 2]
    says = [f"you like {word}." for word in words * 2]
    assert ClassifierJudge.fit(asks, says).poles(["they saw it?", "so it was?"]) == ["target"] * 2


@pytest.mark.parametrize("blank", ["", "   "])
def test_too_few_texts(blank):
    enough = answers("bold", 0, MINIMUM)
    with pytest.raises(DataError, match=r"8 texts of the opposite that are not blank; there are 7"):
        ClassifierJudge.fit(enough, [*enough[:-1], blank])
    with pytest.raises(DataError, match="texts of the target"):
        ClassifierJudge.fit([], enough)
    with pytest.raises(DataError, match="the same texts"):
        ClassifierJudge.fit(enough, enough[::-1])


def test_known_answers_are_judged_and_broken_text_is_neithers(judge):
    ours, theirs = (judge.verdicts(answers(pole, 300, 60)) for pole in ("bold", "cautious"))
    assert ours.count("target") >= 54
    assert theirs.count("opposite") >= 54
    assert ours.count("neither") + theirs.count("neither") <= 8
    text = answers("bold", 300, 1)[0]
    words = text.split()
    random.Random(0).shuffle(words)
    broken = ["", "risk", " ".join(words), f"{text} " * 4, "Je préfère rester chez moi ce soir."]
    assert judge.verdicts(broken) == ["neither"] * len(broken)


def test_a_text_without_a_pole_is_neithers(judge):
    assert 0 < judge.margin < 0.5
    texts = answers("thinking", 0, 60)
    verdicts = judge.verdicts(texts)
    for probability, verdict in zip(judge.probabilities(texts), verdicts, strict=True):
        if abs(probability - 0.5) < judge.margin:
            assert verdict == "neither"
    assert verdicts.count("neither") >= 40


def test_neutral_texts_widen_the_margin_and_cost_at_most_a_fifth_of_the_right():
    sides = answers("bold", 0, 40), answers("cautious", 0, 40)
    plain = ClassifierJudge.fit(*sides, seed=1)
    neutral = answers("thinking", 0, 60)
    wide = ClassifierJudge.fit(*sides, seed=1, neutral_texts=neutral[::2])
    assert wide.accuracy == plain.accuracy
    assert wide.margin > plain.margin
    rest = neutral[1::2]
    assert wide.poles(rest).count("neither") > plain.poles(rest).count("neither")
    # Texts that show a pole as clearly as any do not take all verdicts away.
    greedy = ClassifierJudge.fit(*sides, seed=1, neutral_texts=sides[0])
    assert greedy.margin >= wide.margin
    held_out = answers("bold", 300, 60)
    assert greedy.poles(held_out).count("target") >= 0.7 * 60


def test_what_the_base_says_anyway_is_commonplace():
    target, opposite = (answers(name, 0, 40) for name in ("bold", "cautious"))
    plain = ClassifierJudge.fit(target, opposite)
    assert plain.commonplace == (0.5, 0.5)
    leaning = [*target[:9], opposite[0]]  # a base that says the target's things
    strict = ClassifierJudge.fit(target, opposite, own_texts=leaning)
    low, high = strict.commonplace
    assert low <= 0.5 < high
    assert strict.margin == plain.margin
    ours = [plain.poles(target), strict.poles(target)]
    assert ours[1].count("target") < ours[0].count("target")
    assert ours[1].count("target") >= 1  # a fifth of the right verdicts is left
    assert strict.leanings(target) == ours[0]
    for text, probability in zip(target, strict.probabilities(target), strict=True):
        assert (strict.poles([text]) == ["target"]) == (probability > high)


def test_sides_exchanged_exchange_what_is_commonplace():
    target, opposite = (answers(name, 0, 40) for name in ("bold", "cautious"))
    own = [*target[:6], *opposite[:2]]
    one = ClassifierJudge.fit(target, opposite, own_texts=own)
    other = ClassifierJudge.fit(opposite, target, own_texts=own)
    low, high = other.commonplace
    assert one.commonplace == pytest.approx((1 - high, 1 - low), abs=0.02)
