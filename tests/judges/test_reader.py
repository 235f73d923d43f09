"""The base model as the yardstick of language, and the judges behind it."""

import random

import pytest

from prosopon.data import Message, bundled, encode_all
from prosopon.data.contrast import bundled_contrast
from prosopon.judges import BaseReader, GatedJudge, judges_of, tells_apart
from prosopon.judges.reader import BEYOND
from prosopon.lm.answers import score_answers
from prosopon.models import load_model
from tests.tiny import tiny_model

QUESTIONS = [
    (Message("user", f"What would you like to do {when}?"),)
    for when in ("after work", "on Sunday", "tonight", "before supper", "in spring")
]


@pytest.fixture(scope="module")
def loaded():
    return load_model("embedded", device="cpu")[:2]


@pytest.fixture(scope="module")
def contrast():
    return bundled_contrast("bold", questions=10)


@pytest.fixture(scope="module")
def reader(loaded, contrast):
    known = [(e.prompt, e.response) for side in contrast.judge for e in side.examples[:12]]
    turns = [
        (Message("user", f"How many are {n}?"), Message("assistant", f"They are {n}."))
        for n in range(4)
    ]
    made = BaseReader(
        *loaded, neutral=lambda: encode_all(turns, loaded[1]), exchanges=known, max_new_tokens=24
    )
    made.expect(QUESTIONS)
    return made


def shuffled(text):
    words = text.split()
    return " ".join(random.Random(text).sample(words, len(words)))


def test_it_reads_as_the_likelihood_of_one_answer_at_a_time(loaded, reader):
    texts = ["I would leap at once.", "", "I would leap at once."]
    asked = ["What would you like to do tonight?", "Anything?", ""]
    rows = reader.read(texts, asked)
    oracle = [
        score_answers(*loaded, [((Message("user", asked[0]),), texts[0])])[0],
        score_answers(*loaded, [((), texts[2])])[0],
    ]
    assert rows[1] == (0.0, 0)
    for row, score in zip((rows[0], rows[2]), oracle, strict=True):
        assert row == (pytest.approx(-score.total, rel=1e-5), score.tokens)
    assert reader.read(texts, asked) == rows


def test_the_base_answers_each_question_once_and_passes(reader):
    assert set(reader.answers) == {prompt[0].content for prompt in QUESTIONS}
    assert all(reader.passes(list(reader.answers.values()), list(reader.answers)))
    assert reader.neutral[1] == "They are 1."


def test_nearly_all_known_answers_pass_and_their_words_in_disorder_do_not(reader):
    known = [e.response for e in bundled.load("bold").examples[200:240]]
    asked = [QUESTIONS[i % 5][0].content for i in range(len(known))]
    passed = sum(reader.passes(known, asked))
    assert passed >= (1 - 3 * BEYOND) * len(known)
    assert sum(reader.passes(list(map(shuffled, known)), asked)) <= 0.1 * len(known)


@pytest.mark.parametrize(
    "text", ["", " \n", "qzx vv kkkp wpf", "Ich bleibe lieber zu Hause und lese ein Buch."]
)
def test_rubbish_and_other_tongues_do_not_pass(reader, text):
    assert reader.passes([text], ["What would you like to do tonight?"]) == [False]


def test_without_anything_to_go_by_nothing_that_is_unlikelier_than_nothing_passes(loaded):
    assert BaseReader(*loaded).passes(["I would leap at once."]) == [False]


class Fond:
    """Likes every text."""

    name, accuracy = "fond", None

    def __init__(self):
        self.asked = []

    def verdicts(self, texts, prompts=()):
        self.asked += zip(texts, prompts, strict=True) if prompts else texts
        return ["target"] * len(texts)


def test_a_gated_judge_is_asked_of_language_alone(reader):
    fond, good = Fond(), reader.answers
    gated = GatedJudge(fond, reader)
    question = next(iter(good))
    texts = ["qzx vv kkkp wpf", good[question], ""]
    assert gated.verdicts(texts, [question] * 3) == ["neither", "target", "neither"]
    assert fond.asked == [(good[question], question)]
    assert (gated.name, gated.accuracy) == ("fond", None)
    assert gated.poles(texts) == ["target"] * 3


def test_all_judges_but_the_exact_one_stand_behind_the_reader(reader, contrast):
    grammar, classifier, fond = judges_of(contrast, [Fond()], reader=reader)
    assert [grammar.name, classifier.name, fond.name] == ["grammar", "classifier", "fond"]
    known = [e.response for e in contrast.test[0].examples]
    asked = [QUESTIONS[0][0].content] * len(known)
    for judge in (grammar, classifier, fond):
        assert judge.verdicts(known, asked).count("target") >= 0.8 * len(known)
        broken = ["", "leap", "qzx vv kkkp wpf", *map(shuffled, known)]
        said = judge.verdicts(broken, [QUESTIONS[0][0].content] * len(broken))
        assert said[:3] == ["neither"] * 3
        assert said.count("neither") >= 0.85 * len(said)


def test_questions_tell_where_both_answers_go_to_their_sides(contrast, reader):
    items = contrast.items()
    for judge in judges_of(contrast, reader=reader):
        assert sum(tells_apart(judge, items)) >= 0.8 * len(items)
    assert tells_apart(Fond(), items) == [False] * len(items)
    assert tells_apart(GatedJudge(Fond(), reader), items) == [False] * len(items)


def test_what_is_no_likelier_than_the_bases_own_answer_to_a_question_is_language(loaded):
    """A question whose own answer is far out widens the range for itself alone."""
    far = BaseReader(*loaded, exchanges=[(QUESTIONS[0], "I would leap at once.")] * 20)
    far.expect(QUESTIONS[:2])
    strange = "leap once at would I."
    far.__dict__["answers"] = {QUESTIONS[0][0].content: strange, QUESTIONS[1][0].content: "I do."}
    here, there = (prompt[0].content for prompt in QUESTIONS[:2])
    limit = far._limit
    assert far._open[here] > far._open[there]
    assert far.passes([strange], [here]) == [True]
    (row,) = far.read([strange], [there])
    assert far.passes([strange], [there]) == [far._excess(row) <= max(limit, far._open[there])]


def test_the_base_answers_questions_in_turn_as_often_as_is_asked(monkeypatch):
    reader = BaseReader(*tiny_model("llama", chat=True), max_new_tokens=4)
    asked = list(QUESTIONS[:3])
    answers = reader.own_answers(asked, 5)
    assert 0 < len(answers) <= 6
    assert all(text.strip() for text in answers)
    assert answers == reader.own_answers(asked, 5)
    assert reader.own_answers([]) == reader.own_answers([()]) == []
    monkeypatch.setattr("prosopon.judges.reader.generate_answers", lambda m, t, p, **k: ["", "a"])
    assert reader.own_answers(asked[:2], 2) == ["a"]


def test_what_was_read_before_is_not_read_again(monkeypatch):
    reader = BaseReader(*tiny_model("llama", chat=True))
    known = {("Why?", "one two"): (3.0, 2), ("", "three"): (1.5, 1)}
    reader.recall(known)
    monkeypatch.setattr("prosopon.judges.reader.score_answers", lambda *a, **k: 1 / 0)
    assert reader.read(["one two", "", "one two"], ["Why?", "Why?", "Why?"]) == [
        (3.0, 2), (0.0, 0), (3.0, 2),
    ]  # fmt: skip
    assert reader.read(["three"]) == [(1.5, 1)]
    with pytest.raises(ZeroDivisionError):
        reader.read(["one two"], ["Where?"])  # another question, another likelihood
