"""Questionnaires: keys, reliability, and what simple answerers get."""

import pytest

from prosopon.data.questionnaires import load_questionnaire
from prosopon.errors import DataError
from prosopon.evaluation.reliability import agreement, cronbach_alpha, letter
from prosopon.evaluation.speakers import RuleSpeaker
from prosopon.evaluation.tasks import TASKS


def test_alpha_by_hand():
    rows = [[2, 3, 3], [4, 4, 5], [3, 3, 4], [5, 4, 5]]
    # Variances of the items 1.25, 0.25, 0.6875 and of the totals 8, 13, 10, 14: 5.6875.
    assert cronbach_alpha(rows) == pytest.approx(1.5 * (1 - 2.1875 / 5.6875))
    assert cronbach_alpha([[1, 1], [2, 2], [5, 5]]) == pytest.approx(1)
    assert cronbach_alpha([[1, 2], [1, 2]]) is None


def test_places_and_letters():
    assert [agreement(place, 5) for place in range(5)] == [1, 0.5, 0, -0.5, -1]
    assert (letter(0.1, "E", "I"), letter(-0.1, "E", "I"), letter(0, "E", "I")) == ("E", "I", "x")


@pytest.mark.parametrize(("name", "axes", "least"), [("mbti", 4, 10), ("big-five", 5, 8)])
def test_half_of_every_scale_is_reverse_keyed(name, axes, least):
    scales = load_questionnaire(name)
    assert len(scales) == axes
    texts = [item.text for scale in scales for item in scale.items]
    assert len(set(texts)) == len(texts)
    for scale in scales:
        assert len(scale.items) >= least
        assert sum(item.keyed for item in scale.items) == 0


def test_somebody_who_agrees_with_everything_has_no_type():
    agrees = RuleSpeaker("agrees", lambda options: [float(o == "Strongly agree") for o in options])
    found = TASKS.get("mbti").run(agrees, None)
    assert found.notes["scores"] == dict.fromkeys(("E-I", "S-N", "T-F", "J-P"), 0)
    assert found.notes["type"] == "xxxx"
    assert found.notes["order_gap"] == 0
    assert all(o.values["agreement"] == 1 for o in found.outcomes)


def test_somebody_who_likes_the_first_option_is_exposed_by_the_orders():
    first = RuleSpeaker("first", lambda options: [5.0, 4.0, 3.0, 2.0, 1.0])
    found = TASKS.get("big-five").run(first, None)
    assert found.notes["order_gap"] == 2
    assert all(abs(score) < 1e-12 for score in found.notes["scores"].values())


def test_a_persona_moves_its_own_axis(loaded):
    """A speaker that agrees with what is keyed to one pole has that pole's letter."""

    class Keyed:
        writes = False

        def score(self, questions):
            keys = {i.text: i.keyed for s in load_questionnaire("mbti") for i in s.items}
            rule = RuleSpeaker("none", lambda options: [0.0] * len(options))
            found = []
            for question in questions:
                text = next(t for t in keys if t in question.prompt[0].content)
                wanted = "Agree" if keys[text] == 1 else "Disagree"
                rule.rule = lambda options, w=wanted: [float(o == w) for o in options]
                found += rule.score([question])
            return found

    found = TASKS.get("mbti").run(Keyed(), None)
    assert found.notes["type"] == "ESTJ"
    assert all(score == 0.5 for score in found.notes["scores"].values())


def test_it_runs_on_a_model(speaker, setting):
    found = TASKS.get("mbti").run(speaker, setting)
    assert len(found.outcomes) == 40 * 8
    assert len({o.question for o in found.outcomes}) == 40
    for axis, score in found.notes["scores"].items():
        values = [o.values[f"score:{axis}"] for o in found.outcomes if f"score:{axis}" in o.values]
        assert score == pytest.approx(sum(values) / len(values))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no"),
        ("[[axis]]\nname='a'\nhigh='h'\nlow='l'\nitems=[]", "at least two"),
        ("[[axis]]\nname='a'\nhigh='h'\nitems=[{text='x',keyed=1},{text='y',keyed=1}]", "low"),
        (
            "[[axis]]\nname='a'\nhigh='h'\nlow='l'\nitems=[{text='x',keyed=1},{text='y',keyed=0}]",
            "keyed of 'y' is 0",
        ),
    ],
)
def test_bad_files(tmp_path, text, told):
    path = tmp_path / "q.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        load_questionnaire(path)
